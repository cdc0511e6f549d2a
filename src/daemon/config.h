// SPDX-License-Identifier: Apache-2.0
// dfdaemon.yaml. Keys, formats and defaults: client v1.0.0 and v1.5.1, dragonfly-client-config/src/dfdaemon.rs; see
// docs/configuration.md.
#pragma once

#include <cstdint>
#include <string>
#include <vector>

#include "absl/status/statusor.h"
#include "absl/time/time.h"

namespace dragonfly::daemon {

struct DaemonConfig {
  DaemonConfig() = default;

  struct Host {
    std::string idc;
    std::string location;
    std::string hostname;  // empty: the system's
    std::string ip;        // advertised; empty: derived from the interfaces
  } host;
  struct Server {
    std::string plugin_dir = "/var/lib/dragonfly/plugins/dfdaemon";
    std::string cache_dir = "/var/cache/dragonfly/dfdaemon";
  } server;
  struct Download {
    std::string socket_path = "/var/run/dragonfly/dfdaemon.sock";
    uint64_t rate_limit = 10ull << 30;                 // bytes a second; 0: none
    uint64_t back_to_source_rate_limit = 50'000'000'000;
    absl::Duration piece_timeout = absl::Seconds(120);
    absl::Duration collected_piece_timeout = absl::Seconds(10);
    uint64_t concurrent_piece_count = 8;
    std::string protocol = "tcp";                      // tcp, quic, grpc
  } download;
  struct Upload {
    std::string ip = "0.0.0.0";  // listen address
    uint16_t port = 4000;        // 0: any
    std::string ca_cert, cert, key;
    bool disable_shared = false;
    uint64_t rate_limit = 10ull << 30;
  } upload;
  struct Manager {
    std::string addr;
  } manager;
  struct Scheduler {
    // Without a manager: "ip:port" of each scheduler.
    std::vector<std::string> addrs;
    absl::Duration announce_interval = absl::Seconds(300);
    absl::Duration schedule_timeout = absl::Hours(3);
    uint64_t max_schedule_count = 5;
  } scheduler;
  struct SeedPeer {
    bool enable = false;
    std::string type = "super";
    uint64_t cluster_id = 1;
  } seed_peer;
  struct Storage {
    std::string dir = "/var/lib/dragonfly";
    bool keep = false;
    std::string ip = "0.0.0.0";  // of the piece server
    uint16_t tcp_port = 4005;    // 0: any
    absl::Duration write_piece_timeout = absl::Seconds(90);
  } storage;
  struct Gc {
    absl::Duration interval = absl::Seconds(900);
    absl::Duration task_ttl = absl::Hours(6);
    uint64_t dist_threshold = 0;  // bytes
    uint64_t high_percent = 80;
    uint64_t low_percent = 60;
  } gc;
  struct HttpServer {
    std::string ip = "0.0.0.0";
    uint16_t port = 0;
  };
  HttpServer health{.ip = "0.0.0.0", .port = 4003};
  HttpServer metrics{.ip = "0.0.0.0", .port = 4002};
  struct Backend {
    bool verify_tls = true;
    std::string ca_file;
    uint64_t retries = 1;
  } backend;
};

struct LoadedConfig {
  DaemonConfig config;
  std::vector<std::string> warnings;
};

// Errors: INVALID_ARGUMENT with file, line, key and reason of each wrong value; NOT_FOUND.
absl::StatusOr<LoadedConfig> LoadDaemonConfig(const std::string& path);

}  // namespace dragonfly::daemon
