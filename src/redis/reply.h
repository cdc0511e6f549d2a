// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <cstdint>
#include <optional>
#include <string>
#include <utility>
#include <vector>

#include "absl/status/statusor.h"

namespace dragonfly::redis {

// What a server answers to one command, as a value (RESP2). Errors of the server are no replies but statuses.
struct Reply {
  enum class Kind { kNil, kText, kInteger, kArray };

  Reply() = default;
  Kind kind = Kind::kNil;
  std::string text;          // of a string or a status line; any bytes
  int64_t integer = 0;       // of a number
  std::vector<Reply> array;  // of a list

  bool nil() const { return kind == Kind::kNil; }

  // The reply as one kind. Errors: INTERNAL saying what came instead; Text() says NOT_FOUND for a nil.
  absl::StatusOr<std::string> Text() const;
  absl::StatusOr<int64_t> Integer() const;
  // Every element as a text; a nil list is empty.
  absl::StatusOr<std::vector<std::string>> Texts() const;
  // The fields and values of HGETALL, in the server's order.
  absl::StatusOr<std::vector<std::pair<std::string, std::string>>> Fields() const;
};

// The status of an error line ("NOSCRIPT No matching script."): UNAVAILABLE for a server that cannot serve for now,
// UNAUTHENTICATED and PERMISSION_DENIED for its rules, INTERNAL for all others. The message is the line.
absl::Status ErrorOf(const std::string& line);
// True when `status` is the server's own error and its line begins with `word`.
bool IsError(const absl::Status& status, const std::string& word);

}  // namespace dragonfly::redis
