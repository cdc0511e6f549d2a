// SPDX-License-Identifier: Apache-2.0
// scheduler.yaml. Keys, defaults and rules: dragonfly v2.3.0, scheduler/config/config.go; keys of later releases are
// known, too, so that a file of v2.2 to v2.5 loads unchanged.
#pragma once

#include <cstdint>
#include <string>
#include <string_view>
#include <vector>

#include "absl/status/statusor.h"
#include "absl/time/time.h"

namespace dragonfly::scheduler {

struct SchedulerConfig {
  SchedulerConfig() = default;

  bool console = false;

  struct Server {
    std::string listen_ip;  // empty: all addresses of the family
    uint16_t port = 8002;   // 0 is possible in tests only: any
    std::string log_dir = "/var/log/dragonfly";
    std::string log_level = "info";
    uint64_t log_files_max = 20;
    std::string tls_ca_cert, tls_cert, tls_key;  // all or none: mutual TLS
    // Calls and stream openings a second; 0: as many as the machine can. A refused peer goes to the origin, which is
    // what a scheduler exists to prevent, so there is no limit unless the file sets one.
    double request_rate_limit = 0;
  } server;

  struct Scheduling {
    std::string algorithm = "default";
    int64_t back_to_source_count = 200;
    int64_t retry_back_to_source_limit = 4;
    int64_t retry_limit = 5;
    absl::Duration retry_interval = absl::Milliseconds(500);
    absl::Duration piece_download_timeout = absl::Minutes(30);
    absl::Duration peer_gc_interval = absl::Seconds(10);
    absl::Duration peer_ttl = absl::Hours(24);
    absl::Duration task_gc_interval = absl::Minutes(30);
    absl::Duration host_gc_interval = absl::Minutes(5);
    absl::Duration host_ttl = absl::Hours(1);
    // Without a key: what a manager would configure, and times of our own.
    uint64_t candidate_parent_limit = 4;
    uint64_t filter_parent_limit = 15;
    int32_t upload_limit_normal = 200;
    int32_t upload_limit_seed = 2000;
    absl::Duration stream_grace = absl::Seconds(5);
  } scheduling;

  struct SeedPeer {
    bool enable = true;
    std::string tls_ca_cert, tls_cert, tls_key;
  } seed_peer;

  struct Metrics {
    bool enable = false;
    std::string addr = ":8000";
    bool enable_host = false;
  } metrics;

  bool enable_ipv6 = false;
  std::string manager_addr;
};

struct LoadedSchedulerConfig {
  LoadedSchedulerConfig() = default;
  SchedulerConfig config;
  std::vector<std::string> warnings;
};

// Errors: NOT_FOUND and others of reading the file; INVALID_ARGUMENT "<file>:<line>: <key>: <reason>", one a line.
absl::StatusOr<LoadedSchedulerConfig> LoadSchedulerConfig(const std::string& path);
// The same for text; `file_name` is used in messages.
absl::StatusOr<LoadedSchedulerConfig> ParseSchedulerConfig(std::string_view text, std::string_view file_name);

}  // namespace dragonfly::scheduler
