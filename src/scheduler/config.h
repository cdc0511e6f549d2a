// SPDX-License-Identifier: Apache-2.0
// scheduler.yaml. Keys, defaults and rules: dragonfly v2.3.0, scheduler/config/config.go; keys of later releases are
// known, too, so that a file of v2.2 to v2.5 loads unchanged. See docs/scheduler-configuration.md.
#pragma once

#include <cstdint>
#include <functional>
#include <optional>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include "absl/status/statusor.h"
#include "absl/time/time.h"
#include "config/description.h"
#include "config/redis.h"
#include "config/sections.h"

namespace dragonfly::config {
struct LoadReport;
}

namespace dragonfly::scheduler {

// The defaults are those of a file that sets nothing. Empty TLS files mean plaintext.
struct SchedulerConfig {
  SchedulerConfig() = default;

  using TlsFiles = config::TlsFiles;

  bool console = false;
  int64_t pprof_port = -1;             // positive: profiles are served there
  std::string pprof_ip = "127.0.0.1";  // who can take profiles can slow the scheduler down

  config::Tracing tracing{"scheduler"};

  struct Server {
    std::string advertise_ip;     // told to the manager; empty: derived from the interfaces
    uint16_t advertise_port = 0;  // 0: the port
    std::string listen_ip;        // empty: all addresses of the family
    uint16_t port = 8002;         // 0 is possible in tests only: any
    std::string host;             // the name at the manager; empty: the system's
    TlsFiles tls;
    std::string cache_dir = "/var/cache/dragonfly";
    std::string log_dir = "/var/log/dragonfly";
    std::string log_level = "info";
    uint64_t log_size_max = 1024;  // MB
    uint64_t log_files_max = 20;
    // Calls and stream openings a second; 0: as many as the machine can. A refused peer goes to the origin, which is
    // what a scheduler exists to prevent, so there is no limit unless the file sets one.
    double request_rate_limit = 0;
    bool reflection = true;
  } server;

  struct Scheduling {
    std::string algorithm = "load";
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
    // Without a key: what a manager or dynconfig.yaml configures (these hold while nobody says otherwise), and times of
    // our own.
    uint64_t candidate_parent_limit = 4;
    uint64_t filter_parent_limit = 15;
    int32_t upload_limit_normal = 200;
    int32_t upload_limit_seed = 2000;
    absl::Duration stream_grace = absl::Seconds(5);
  } scheduling;

  // The store of persistent cache tasks and of jobs.
  using Redis = config::Redis;
  Redis redis;

  struct Dynconfig {
    absl::Duration refresh_interval = absl::Minutes(1);
    std::string path;  // of dynconfig.yaml, when there is no manager; no key of scheduler.yaml
  } dynconfig;

  struct Manager {
    std::string addr;  // "host:port"; empty: there is none
    TlsFiles tls;
    uint64_t scheduler_cluster_id = 1;
    absl::Duration keep_alive_interval = absl::Seconds(5);
  } manager;

  struct SeedPeer {
    bool enable = true;
    TlsFiles tls;
    absl::Duration task_download_timeout = absl::Hours(10);
  } seed_peer;

  // Connections to peers that are no seeds.
  struct Peer {
    TlsFiles tls;
  } peer;

  struct Host {
    std::string idc;
    std::string location;
  } host;

  struct Job {
    bool enable = true;
    uint64_t global_workers = 500;
    uint64_t scheduler_workers = 500;
    uint64_t local_workers = 1000;
    // Where the registries of images that others name must not be: by default link-local networks and the addresses of
    // metadata services. `allowed_networks` are exceptions.
    struct Preheat {
      Preheat() = default;
      std::vector<std::string> forbidden_networks = {"169.254.0.0/16",     "fe80::/10",        "fd00:ec2::254/128",
                                                     "100.100.100.200/32", "168.63.129.16/32", "192.0.0.192/32"};
      std::vector<std::string> allowed_networks;
    } preheat;
  } job;

  struct Metrics {
    bool enable = false;
    std::string addr = ":8000";
    bool enable_host = false;
  } metrics;

  bool enable_ipv6 = false;
};

struct LoadedSchedulerConfig {
  LoadedSchedulerConfig() = default;
  SchedulerConfig config;
  std::vector<std::string> warnings;
};

// The value of an environment variable or null, as std::getenv.
using GetEnvironment = std::function<const char*(const char*)>;

// Reads the file, or nothing when `path` is empty. Variables named SCHEDULER_ and a key's path in capitals, with _ for
// each dot (SCHEDULER_SERVER_PORT), win over the file; an empty one is none. A list is written with commas, a mapping
// has no variable. Errors: NOT_FOUND and others of reading the file; INVALID_ARGUMENT "<file>:<line>: <key>: <reason>"
// or "<variable>: <key>: <reason>", one a line.
absl::StatusOr<LoadedSchedulerConfig> LoadSchedulerConfig(const std::string& path, const GetEnvironment& get);
// The same for text, without the environment; `file_name` is used in messages.
absl::StatusOr<LoadedSchedulerConfig> ParseSchedulerConfig(std::string_view text, std::string_view file_name);

// What is wrong with the file and the environment, all of it; `config` gets what is right.
config::LoadReport CheckSchedulerConfig(const std::string& path, const GetEnvironment& get, SchedulerConfig& config);

// Every key that scheduler.yaml may have, and the values of `config` as such a file. Secrets are masked.
config::Description DescribeSchedulerConfig(SchedulerConfig config);

// The variable that stands for the key: "server.logDir" is SCHEDULER_SERVER_LOGDIR.
std::string EnvironmentNameOf(std::string_view key);

// "<key>: <reason>" of everything that would keep a scheduler from starting here: certificates that cannot be used,
// directories that cannot be written. Looks only. Blocks on the file system.
std::vector<std::string> CheckHost(const SchedulerConfig& config);

}  // namespace dragonfly::scheduler
