// SPDX-License-Identifier: Apache-2.0
// dfdaemon.yaml. Keys, formats and defaults: client v1.0.0 and v1.5.1, dragonfly-client-config/src/dfdaemon.rs; see
// docs/configuration.md.
#pragma once

#include <cstdint>
#include <optional>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include "absl/status/statusor.h"
#include "absl/time/time.h"
#include "config/description.h"

namespace dragonfly::config {
struct LoadReport;
}

namespace dragonfly::daemon {

// The defaults are those of a file that sets nothing. Ports 0 mean any free port; empty TLS files mean plaintext.
struct DaemonConfig {
  DaemonConfig() = default;

  struct TlsFiles {
    TlsFiles() = default;
    std::string ca_cert, cert, key;
  };
  struct HttpServer {
    std::string ip = "0.0.0.0";
    uint16_t port = 0;
  };

  struct Host {
    std::string idc;
    std::string location;
    std::string hostname;  // empty: the system's
    std::string ip;        // advertised; empty: derived from the interfaces
    uint64_t scheduler_cluster_id = 0;
  } host;
  // When requests are refused because the host is overloaded.
  struct AdaptiveRateLimit {
    AdaptiveRateLimit() = default;
    uint64_t bucket_count = 50;  // of the window in which requests and their times are counted
    absl::Duration bucket_interval = absl::Milliseconds(200);
    uint64_t cpu_threshold = 100;  // percent; 100: the CPU refuses nothing
    uint64_t memory_threshold = 90;
    absl::Duration shed_cooldown = absl::Seconds(5);  // after the last overload
    absl::Duration collect_interval = absl::Seconds(3);
  };
  struct Server {
    std::string plugin_dir = "/usr/local/lib/dragonfly/plugins/dfdaemon";
    std::string cache_dir = "/var/cache/dragonfly/dfdaemon";
    std::optional<AdaptiveRateLimit> adaptive_rate_limit = AdaptiveRateLimit();  // nullopt: off
  } server;
  struct Download {
    std::string socket_path = "/var/run/dragonfly/dfdaemon.sock";
    uint32_t socket_mode = 0660;           // permission bits
    uint64_t request_rate_limit = 4000;    // a second
    uint64_t request_buffer_size = 50;     // requests that wait for the limit
    uint64_t rate_limit = 50'000'000'000;  // bytes a second; 0: none
    uint64_t back_to_source_rate_limit = 50'000'000'000;
    absl::Duration piece_timeout = absl::Seconds(360);
    absl::Duration collected_piece_timeout = absl::Seconds(360);
    uint64_t concurrent_piece_count = 8;
    std::string protocol = "tcp";  // tcp, quic, grpc
  } download;
  struct Upload {
    std::string ip = "0.0.0.0";  // listen address
    uint16_t port = 4000;        // 0: any
    std::string ca_cert, cert, key;
    uint64_t request_rate_limit = 4000;  // a second
    uint64_t request_buffer_size = 50;   // requests that wait for the limit
    TlsFiles client_tls;                 // towards the upload servers of other peers
    bool disable_shared = false;
    uint64_t rate_limit = 50'000'000'000;  // bytes a second; 0: none
  } upload;
  struct Manager {
    std::string addr;
    TlsFiles tls;
  } manager;
  struct Scheduler {
    // Without a manager: "host:port" or "ip:port" of each scheduler. A name stands for all its addresses.
    std::vector<std::string> addrs;
    absl::Duration announce_interval = absl::Seconds(300);
    absl::Duration schedule_timeout = absl::Hours(3);
    uint64_t max_schedule_count = 5;
    TlsFiles tls;
  } scheduler;
  struct SeedPeer {
    bool enable = false;
    std::string type = "super";
    uint64_t cluster_id = 1;                                // of seed peers, at the manager
    absl::Duration keepalive_interval = absl::Seconds(15);  // between beats to the manager
  } seed_peer;
  struct Dynconfig {
    absl::Duration refresh_interval = absl::Seconds(60);
    std::string path;  // of dynconfig.yaml when that is the source; no key of dfdaemon.yaml
  } dynconfig;
  struct Network {
    bool enable_ipv6 = false;
  } network;
  // Whether the origin is asked if a complete task is still what the origin has, before it is given out again.
  enum class Revalidate { kAlways, kInterval, kNever };
  struct Storage {
    std::string dir = "/var/lib/dragonfly";
    bool keep = false;
    std::string ip = "0.0.0.0";  // of the piece server
    uint16_t tcp_port = 4005;    // 0: any
    bool tcp_fastopen = false;
    uint16_t quic_port = 4006;  // 0: any
    absl::Duration write_piece_timeout = absl::Seconds(360);
    uint64_t write_buffer_size = 512ull << 10;  // bytes
    uint64_t read_buffer_size = 512ull << 10;
    uint64_t cache_capacity = 64ull << 20;
    Revalidate revalidate = Revalidate::kAlways;
    absl::Duration revalidate_interval = absl::Seconds(60);  // with kInterval: an answer of the origin holds so long
  } storage;
  struct Gc {
    absl::Duration interval = absl::Seconds(900);
    absl::Duration task_ttl = absl::Hours(24 * 30);  // since last use
    absl::Duration persistent_task_ttl = absl::Hours(24);
    absl::Duration persistent_cache_task_ttl = absl::Hours(24);
    absl::Duration page_cache_idle_timeout = absl::Minutes(40);
    uint64_t dist_threshold = 0;  // bytes; 0: the file system's size
    uint64_t high_percent = 80;
    uint64_t low_percent = 60;
  } gc;
  struct BasicAuth {
    std::string username, password;
  };
  struct Proxy {
    struct Rule {
      std::string regex = ".*";
      bool use_tls = false;
      bool insecure_skip_verify = false;  // any certificate of the origin will do
      std::string redirect;
      std::optional<std::vector<std::string>> filtered_query_params;  // nullopt: the default names
    };
    HttpServer server{.ip = "0.0.0.0", .port = 4001};
    uint64_t request_rate_limit = 4000;  // a second
    std::string ca_cert, ca_key;
    std::optional<BasicAuth> basic_auth;
    std::vector<Rule> rules;
    // Networks (CIDR) that no request may lead into: by default http::Networks::LinkLocalAndMetadata().
    std::vector<std::string> forbidden_networks = {"169.254.0.0/16",     "fe80::/10",        "fd00:ec2::254/128",
                                                   "100.100.100.200/32", "168.63.129.16/32", "192.0.0.192/32"};
    // Directories that X-Dragonfly-Output-Path may name files below; none: the header is refused.
    std::vector<std::string> output_dirs;
    std::string registry_mirror = "https://index.docker.io";
    std::string registry_cert;
    bool task_id_from_blob_digest = false;
    bool disable_back_to_source = false;
    bool prefetch = false;
    uint64_t prefetch_rate_limit = 10'000'000'000;  // bytes a second; 0: none
    uint64_t read_buffer_size = 512ull << 10;       // bytes
  } proxy;
  HttpServer health{.ip = "0.0.0.0", .port = 4003};
  HttpServer metrics{.ip = "0.0.0.0", .port = 4002};
  HttpServer stats{.ip = "0.0.0.0", .port = 4004};
  struct Tracing {
    std::string protocol;  // grpc, http, https; spans are exported when it and the endpoint are set
    std::string endpoint;  // host:port
    std::string path = "/v1/traces";
    std::vector<std::pair<std::string, std::string>> headers;
    bool enabled() const { return !protocol.empty() && !endpoint.empty(); }
  } tracing;
  struct Backend {
    std::vector<std::pair<std::string, std::string>> request_header;  // added to origin requests
    bool verify_tls = true;
    std::string ca_file;
    uint64_t retries = 1;
    bool cache_temporary_redirect = true;
    absl::Duration cache_temporary_redirect_ttl = absl::Seconds(600);
    uint64_t put_concurrent_chunk_count = 16;
    uint64_t put_chunk_size = 8ull << 20;  // bytes
    absl::Duration put_timeout = absl::Seconds(900);
    bool hickory_dns = true;  // the resolver of the original; here names are always resolved by the system's
  } backend;
};

struct LoadedConfig {
  DaemonConfig config;
  std::vector<std::string> warnings;
};

// Errors: INVALID_ARGUMENT with file, line, key and reason of each wrong value; NOT_FOUND.
absl::StatusOr<LoadedConfig> LoadDaemonConfig(const std::string& path);

// The same for the text of a file named `file_name`.
absl::StatusOr<LoadedConfig> ParseDaemonConfig(std::string_view text, std::string_view file_name);

// What is wrong with the file at `path`, all of it; `config` gets what is right.
config::LoadReport CheckDaemonConfig(const std::string& path, DaemonConfig& config);

// Every key that dfdaemon.yaml may have, and the values of `config` as such a file. Secrets are masked.
config::Description DescribeDaemonConfig(DaemonConfig config);

// Decides who tells where the schedulers are, and checks it: scheduler.addrs of dfdaemon.yaml, else the manager, else
// the local dynamic configuration at `dynconfig_path` (then config.dynconfig.path is set). What has no effect becomes a
// warning. Blocks; connects to nobody. Errors: FAILED_PRECONDITION when nothing names a scheduler; INVALID_ARGUMENT for
// a wrong manager address, TLS file or dynconfig file.
absl::Status ResolveSchedulerAddrs(const std::string& dynconfig_path, LoadedConfig& loaded);

}  // namespace dragonfly::daemon
