// SPDX-License-Identifier: Apache-2.0
// What operators set for a cluster while its schedulers run: limits, priorities of applications, seeds. It comes from
// the manager or from dynconfig.yaml.
#pragma once

#include <cstddef>
#include <cstdint>
#include <memory>
#include <optional>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include "absl/base/thread_annotations.h"
#include "absl/status/statusor.h"
#include "absl/synchronization/mutex.h"
#include "scheduler/config.h"
#include "scheduler/parent_finder.h"

namespace dragonfly::config {
class Section;
}

namespace dragonfly::scheduler {

// Which priority a download has that names an application and no priority of its own. Immutable, thread-safe. Source:
// dragonfly v2.3.0, scheduler/resource/standard/peer.go (CalculatePriority).
class ApplicationPriorities {
 public:
  struct UrlRule {
    std::string regex;  // RE2, found anywhere in the URL
    int32_t value = 0;  // common.v2.Priority
  };
  struct Application {
    std::string name;
    std::optional<int32_t> value;  // nullopt: it has no priorities, not even by URL
    std::vector<UrlRule> urls;
  };

  ApplicationPriorities() = default;
  // Rules whose expression is none are left out and named in `warnings`.
  ApplicationPriorities(const std::vector<Application>& applications, std::vector<std::string>* warnings);

  // The first rule that is found in the URL, else the application's own; 0 for an application that nobody knows.
  // Linear in the length of the URL.
  int32_t Of(std::string_view application, std::string_view url) const;

 private:
  class Pattern;
  struct Compiled {
    std::string name;
    int32_t value = 0;
    std::vector<std::pair<std::shared_ptr<const Pattern>, int32_t>> urls;
  };
  std::vector<Compiled> applications_;
};

// A seed peer that the manager lists as active.
struct ListedSeed {
  std::string hostname;
  std::string ip;
  int32_t port = 0;
  int32_t download_port = 0;
  std::string type;  // "super", "strong", "weak"
  std::string idc;
  std::string location;
  bool operator==(const ListedSeed&) const = default;
};

// Immutable once it is shared.
struct ClusterConfig {
  ClusterConfig() = default;
  ParentLimits parents;
  int32_t upload_limit_normal = 200;  // parent-child edges of a host at once
  int32_t upload_limit_seed = 2000;
  std::vector<ListedSeed> seeds;
  std::shared_ptr<const ApplicationPriorities> priorities = std::make_shared<const ApplicationPriorities>();
};

// What holds while nobody has said otherwise.
ClusterConfig DefaultClusterConfig(const SchedulerConfig& config);

// The one in force. Thread-safe.
class ClusterConfigs {
 public:
  explicit ClusterConfigs(ClusterConfig first) : current_(std::make_shared<const ClusterConfig>(std::move(first))) {}
  // Never null.
  std::shared_ptr<const ClusterConfig> current() const {
    absl::MutexLock lock(&mutex_);
    return current_;
  }
  void Set(std::shared_ptr<const ClusterConfig> next) {
    absl::MutexLock lock(&mutex_);
    current_ = std::move(next);
  }

 private:
  mutable absl::Mutex mutex_;
  std::shared_ptr<const ClusterConfig> current_ ABSL_GUARDED_BY(mutex_);
};

struct LoadedClusterConfig {
  ClusterConfig config;
  std::vector<std::string> warnings;
};

// Reads dynconfig.yaml over `defaults`. Its keys: dragonfly v2.5.1, scheduler/config/dynconfig.go; those of a
// dfdaemon's file of the same name are known and left aside. Errors: NOT_FOUND and others of reading it;
// INVALID_ARGUMENT with file, line, key and reason of each wrong value.
absl::StatusOr<LoadedClusterConfig> LoadClusterConfigFile(const std::string& path, const ClusterConfig& defaults);

// Applies one of the manager's JSON texts: SchedulerCluster.config, SchedulerCluster.client_config,
// SeedPeerCluster.config. What is absent, null or 0 leaves the value alone. `name` stands in errors. Errors:
// INVALID_ARGUMENT; then nothing has changed.
absl::Status ApplySchedulerClusterConfig(std::string_view json, std::string_view name, ClusterConfig* config);
absl::Status ApplyClientConfig(std::string_view json, std::string_view name, ClusterConfig* config);
absl::Status ApplySeedClusterConfig(std::string_view json, std::string_view name, ClusterConfig* config);

}  // namespace dragonfly::scheduler
