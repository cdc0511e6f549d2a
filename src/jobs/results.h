// SPDX-License-Identifier: Apache-2.0
// What schedulers answer to jobs, with the exact member names. Source: dragonfly v2.3.0, internal/job/types.go and
// scheduler/resource/standard/host.go, with the members that v2.5.1 adds.
#pragma once

#include <cstdint>
#include <string>
#include <string_view>
#include <vector>

#include "absl/status/statusor.h"
#include "absl/time/time.h"

namespace dragonfly::jobs {

struct PreheatResult {
  struct Task {
    Task() = default;
    std::string url, hostname, ip;
    std::string description;  // of a failure
  };
  PreheatResult() = default;
  std::vector<Task> successes, failures;
  uint64_t cluster_id = 0;
};
std::string ToJson(const PreheatResult& result);
absl::StatusOr<PreheatResult> ParsePreheatResult(std::string_view json);

struct GetTaskResult {
  struct Peer {
    Peer() = default;
    std::string id, hostname, ip, host_type;
    absl::Time created_at = absl::UnixEpoch(), updated_at = absl::UnixEpoch();
    bool finished = false;
  };
  GetTaskResult() = default;
  std::vector<Peer> peers;
  uint64_t cluster_id = 0;
};
std::string ToJson(const GetTaskResult& result);
absl::StatusOr<GetTaskResult> ParseGetTaskResult(std::string_view json);

struct DeleteTaskResult {
  struct Task {
    Task() = default;
    std::string hostname, ip, host_type;
    std::string description;  // of a failure
  };
  DeleteTaskResult() = default;
  std::vector<Task> successes, failures;
  uint64_t cluster_id = 0;
};
std::string ToJson(const DeleteTaskResult& result);
absl::StatusOr<DeleteTaskResult> ParseDeleteTaskResult(std::string_view json);

struct TaskEntries {
  struct Entry {
    Entry() = default;
    std::string url;
    uint64_t content_length = 0;
    bool directory = false;
  };
  TaskEntries() = default;
  std::vector<Entry> entries;
  uint64_t cluster_id = 0;
};
std::string ToJson(const TaskEntries& result);
absl::StatusOr<TaskEntries> ParseTaskEntries(std::string_view json);

// A host, of an answer to sync_peers.
struct HostEntry {
  HostEntry() = default;
  std::string id, hostname, ip;
  int64_t type = 0;  // 0 normal, 1 super, 2 strong, 3 weak
  int64_t port = 0, download_port = 0, proxy_port = 0;
  std::string os, platform, platform_family, platform_version, kernel_version;
  std::string idc, location;
  std::string git_version, git_commit, build_platform;
  uint64_t cluster_id = 0;
};
// "normal", "super", "strong", "weak".
std::string_view HostTypeName(int64_t type);
std::string ToJson(const std::vector<HostEntry>& hosts);
absl::StatusOr<std::vector<HostEntry>> ParseHosts(std::string_view json);

}  // namespace dragonfly::jobs
