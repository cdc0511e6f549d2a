// SPDX-License-Identifier: Apache-2.0
// Which tasks the cluster's operators have blocked: client v1.5.1, dragonfly-client/src/dynconfig/block_list.rs; see
// docs/control-plane.md.
//
//   blockList:
//     task:                  # also persistentTask, persistentCacheTask
//       download:            # also upload
//         applications: ["ml"]
//         urls: ["^https://bad\\.example/"]
//         tags: ["nightly"]
//         priorities: [6]
#pragma once

#include <cstdint>
#include <functional>
#include <memory>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "absl/status/statusor.h"

namespace dragonfly::config {
class Section;
}

namespace dragonfly::daemon {

// What a request is judged by. An empty text is one that the request does not have, and matches nothing.
struct BlockQuery {
  std::string_view url;
  std::string_view application;
  std::string_view tag;
  std::optional<int64_t> priority;  // as common.v2.Priority counts
};

// The rules for one purpose. Copies share the patterns. Thread-safe.
class BlockRules {
 public:
  BlockRules() = default;
  bool empty() const;
  // Whether one rule fits: application, tag or priority equal one of the list, or a pattern is found anywhere in the
  // URL. Linear in the length of the URL, whatever the pattern.
  bool Matches(const BlockQuery& query) const;

  // Reads applications, urls, tags and priorities. What is no list, number or pattern is reported to `rules`.
  void Read(config::Section& rules);

 private:
  class Pattern;
  std::vector<std::string> applications_;
  std::vector<std::shared_ptr<const Pattern>> urls_;
  std::vector<std::string> tags_;
  std::vector<int64_t> priorities_;
};

// Immutable once it is shared.
struct BlockList {
  struct Purposes {
    BlockRules download;
    BlockRules upload;
  };
  Purposes task;
  Purposes persistent_task;
  Purposes persistent_cache_task;

  bool empty() const;
};

// The list that is in force now; never null. Called from any thread.
using BlockListSource = std::function<std::shared_ptr<const BlockList>()>;

// Reads the block list of `client_config`: the mapping that is clientConfig or seedClientConfig in dynconfig.yaml. Keys
// may be written in either way of the original, blockList or block_list.
void ReadClientConfig(config::Section& client_config, BlockList* out);

struct ParsedClientConfig {
  BlockList block_list;
  std::vector<std::string> warnings;  // unknown keys, by path
};
// The same for SchedulerCluster.client_config or seed_client_config of manager.v2: JSON, "null" or nothing at all.
// Errors: INVALID_ARGUMENT "<name>:<line>: <key>: <reason>", all of them.
absl::StatusOr<ParsedClientConfig> ParseClientConfig(std::string_view json, std::string_view name);

}  // namespace dragonfly::daemon
