// SPDX-License-Identifier: Apache-2.0
// Identifiers of tasks, hosts and peers. An id type can only be made by its checked factory, so a string from the
// network cannot name a path, fill memory or end the process.
#pragma once

#include <compare>
#include <string>
#include <string_view>
#include <utility>

#include "absl/status/statusor.h"

namespace dragonfly {

// What a task is; the numbers are common.v2.TaskType.
enum class TaskType : int { kStandard = 0, kPersistent = 1, kPersistentCache = 2, kCache = 3 };

// A task id: 64 lower-case hexadecimal digits (SHA-256), or 1 to 10 decimal digits (persistent cache tasks of client
// v1.0.0). Safe as a file name.
class TaskId {
 public:
  // Errors: INVALID_ARGUMENT naming the id (shortened) when it has another form.
  static absl::StatusOr<TaskId> Parse(std::string_view text);

  const std::string& str() const { return text_; }
  // True for the SHA-256 form, the only one that a Vortex request can carry.
  bool is_sha256() const { return text_.size() == 64; }

  auto operator<=>(const TaskId&) const = default;
  template <typename H>
  friend H AbslHashValue(H h, const TaskId& id) {
    return H::combine(std::move(h), id.text_);
  }

 private:
  explicit TaskId(std::string text) : text_(std::move(text)) {}
  std::string text_;
};

// Longest host or peer id taken from the network, in bytes.
inline constexpr size_t kNameIdLengthMax = 512;

// Checks a host or peer id from the network: 1 to kNameIdLengthMax printable ASCII bytes. `what` names the field in the
// error ("host_id"). Errors: INVALID_ARGUMENT.
absl::Status CheckNameId(std::string_view id, std::string_view what);

// "<ip>-<hostname>", and "-seed" behind it for a seed peer.
std::string MakeHostId(std::string_view ip, std::string_view hostname, bool seed);

// "<ip>-<hostname>-<uuid v4>", and "-seed" behind it for a seed peer; a new one at each call. Thread-safe.
std::string MakePeerId(std::string_view ip, std::string_view hostname, bool seed);

}  // namespace dragonfly
