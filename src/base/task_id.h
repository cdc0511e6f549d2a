// SPDX-License-Identifier: Apache-2.0
// Task ids from what a task is. Source: client v1.0.0, dragonfly-client-util/src/id_generator/mod.rs; every peer of a
// cluster must compute the same id or the peers of one task never meet.
#pragma once

#include <cstdint>
#include <memory>
#include <optional>
#include <span>
#include <string>
#include <string_view>
#include <vector>

#include "absl/status/statusor.h"
#include "base/ids.h"

namespace dragonfly {

// What goes into the id of a task that is read from a URL.
struct UrlTaskKey {
  std::string url;
  std::vector<std::string> filtered_query_params;
  std::string tag;                       // empty and absent are the same
  std::string application;               // empty and absent are the same
  std::string revision;                  // Hugging Face and ModelScope; empty is absent
  std::optional<uint64_t> piece_length;  // bytes, as requested
  std::optional<std::string> content;    // content_for_calculating_task_id: when set, nothing else enters
};

// Lower-case hexadecimal SHA-256 over the canonical URL, tag, application, revision, piece length and "STANDARD".
// Errors: INVALID_ARGUMENT when the URL does not parse.
absl::StatusOr<TaskId> UrlTaskId(const UrlTaskKey& key);

// The id of a layer when tasks are named by blob digest (client v1.1.4 and later): the digest in a registry's blob URL
// (".../v2/<name>/blobs/sha256:<digest>"), the same for all registries and mirrors. nullopt for every other URL.
std::optional<TaskId> BlobDigestTaskId(std::string_view url);

// The id of a persistent task, an object written to object storage (client v1.1.4 and later).
TaskId PersistentTaskId(std::string_view url, std::string_view region, std::string_view endpoint);

// The two forms of the id of a persistent cache task.
enum class PersistentCacheIdForm {
  kCrc32,   // decimal, client v1.0.0 to v1.0.14
  kSha256,  // hexadecimal, from v1.0.15
};

struct PersistentCacheKey {
  std::string tag;
  std::string application;
  std::optional<uint64_t> piece_length;
};

// Streams a file's bytes into the id of its persistent cache task: Update() in order, then Finish() once.
class PersistentCacheIdBuilder {
 public:
  explicit PersistentCacheIdBuilder(PersistentCacheIdForm form);
  ~PersistentCacheIdBuilder();
  PersistentCacheIdBuilder(PersistentCacheIdBuilder&&) noexcept;
  PersistentCacheIdBuilder& operator=(PersistentCacheIdBuilder&&) noexcept;
  void Update(std::span<const std::byte> bytes);
  TaskId Finish(const PersistentCacheKey& key);

 private:
  struct State;
  std::unique_ptr<State> state_;
};

// The id when content_for_calculating_task_id is given.
TaskId PersistentCacheIdFromContent(PersistentCacheIdForm form, std::string_view content);

}  // namespace dragonfly
