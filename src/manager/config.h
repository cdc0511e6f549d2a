// SPDX-License-Identifier: Apache-2.0
// manager.yaml. Keys, defaults and rules: dragonfly v2.3.0, manager/config/config.go; keys of later releases are known,
// too, so that a file of v2.2 to v2.5 loads unchanged. See docs/manager-configuration.md.
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

namespace dragonfly::manager {

// The defaults are those of a file that sets nothing. Empty TLS files mean plaintext.
struct ManagerConfig {
  ManagerConfig() = default;

  using TlsFiles = config::TlsFiles;

  bool console = false;
  int64_t pprof_port = -1;  // positive: profiles are served there
  std::string pprof_ip = "127.0.0.1";

  config::Tracing tracing{"manager"};

  struct Server {
    std::string log_dir = "/var/log/dragonfly";
    std::string log_level = "info";
    uint64_t log_size_max = 1024;  // MB
    uint64_t log_files_max = 20;
    std::string data_dir = "/var/lib/dragonfly";
    struct Grpc {
      std::string listen_ip;  // empty: all
      uint16_t port = 65003;
      TlsFiles tls;
      double request_rate_limit = 4000;  // calls and stream openings a second
      bool reflection = true;
    } grpc;
    struct Rest {
      std::string addr = ":8080";
      uint64_t body_max = 4 << 20;                // bytes
      absl::Duration timeout = absl::Minutes(1);  // for a request to arrive, and for an answer to be taken
      std::vector<std::string> cors_origins;      // whose pages may call the API with the user's cookie
      struct Tls {
        Tls() = default;
        std::string cert, key;  // both or none; none means plaintext
        std::string ca_cert;    // not empty: clients need a certificate of this authority
        bool enabled() const { return !cert.empty(); }
      } tls;
      std::vector<std::string> trusted_proxies;  // addresses and networks whose X-Forwarded-... is believed
      double address_rate = 0;                   // requests a second of one address; 0: any
      double user_rate = 0;                      // of one user or token
    } rest;
  } server;

  struct Auth {
    std::string realm = "Dragonfly";
    std::string jwt_key;  // empty: made at the first start, and kept in the database
    std::string jwt_key_file;
    absl::Duration jwt_timeout = absl::Hours(336);
    absl::Duration jwt_max_refresh = absl::Hours(168);
    std::string root_password;    // of the first start; empty: a random one, which is printed once
    bool allow_sign_up = true;    // anyone may become a guest
    bool anonymous_jobs = false;  // the routes of jobs without a token, as the original had them
  } auth;

  struct Database {
    enum class Type { kSqlite, kMysql, kPostgres };
    Type type = Type::kSqlite;
    uint64_t connections = 8;
    absl::Duration timeout = absl::Seconds(30);  // for a statement
    struct Sqlite {
      std::string path;  // empty: manager.db in server.dataDir
    } sqlite;
    struct Mysql {
      std::string user, password, password_file, host;
      uint16_t port = 3306;
      std::string dbname = "manager";
      std::string tls_config;
      TlsFiles tls;
      bool verify = true;  // the server's certificate and name, with tls
      bool migrate = true;
    } mysql;
    struct Postgres {
      std::string user, password, password_file, host;
      uint16_t port = 5432;
      std::string dbname = "manager";
      std::string ssl_mode = "disable";
      std::string timezone = "UTC";
      bool prefer_simple_protocol = false;  // no statement is kept prepared
      bool migrate = true;
    } postgres;
    using Redis = config::Redis;
    Redis redis{/*connections=*/40};
  } database;

  struct Job {
    struct Preheat {
      Preheat();
      absl::Duration registry_timeout = absl::Minutes(1);  // for all that is asked about one image
      std::string ca_cert;                                 // PEM file, or the text of one, for registries
      bool insecure_skip_verify = false;
      // Where the registries of images that others name must not be: by default link-local networks and the addresses
      // of metadata services. `allowed_networks` are exceptions.
      std::vector<std::string> forbidden_networks;
      std::vector<std::string> allowed_networks;
    } preheat;
    struct SyncPeers {
      absl::Duration interval = absl::Hours(24);
      absl::Duration timeout = absl::Minutes(10);
    } sync_peers;
  } job;

  // How the manager speaks to schedulers, when jobs go by calls.
  struct Scheduler {
    Scheduler() = default;
    TlsFiles tls;
  } scheduler;

  struct Metrics {
    bool enable = false;
    std::string addr = ":8000";
  } metrics;

  struct Gc {
    absl::Duration inactive_ttl =
        absl::Minutes(30);  // after which an inactive scheduler or seed peer is deleted; 0: never
  } gc;

  bool enable_ipv6 = false;
};

struct LoadedManagerConfig {
  LoadedManagerConfig() = default;
  ManagerConfig config;
  std::vector<std::string> warnings;
};

// The value of an environment variable or null, as std::getenv.
using GetEnvironment = std::function<const char*(const char*)>;

// Reads the file, or nothing when `path` is empty. Variables named MANAGER_ and a key's path in capitals, with _ for
// each character that is no letter or digit (MANAGER_SERVER_REST_ADDR), win over the file; an empty one is none. A list
// is written with commas, a mapping has no variable. Errors: NOT_FOUND and others of reading the file; INVALID_ARGUMENT
// "<file>:<line>: <key>: <reason>" or "<variable>: <key>: <reason>", one a line.
absl::StatusOr<LoadedManagerConfig> LoadManagerConfig(const std::string& path, const GetEnvironment& get);
// The same for text, without the environment; `file_name` is used in messages.
absl::StatusOr<LoadedManagerConfig> ParseManagerConfig(std::string_view text, std::string_view file_name);

// What is wrong with the file and the environment, all of it; `config` gets what is right.
config::LoadReport CheckManagerConfig(const std::string& path, const GetEnvironment& get, ManagerConfig& config);

// Every key that manager.yaml may have, and the values of `config` as such a file. Secrets are masked.
config::Description DescribeManagerConfig(ManagerConfig config);

// The variable that stands for the key: "server.logDir" is MANAGER_SERVER_LOGDIR.
std::string EnvironmentNameOf(std::string_view key);

// "<key>: <reason>" of everything that would keep a manager from starting here: certificates and files of secrets that
// cannot be used, directories that cannot be written. Looks only. Blocks on the file system.
std::vector<std::string> CheckHost(const ManagerConfig& config);

// The file of the embedded database.
std::string SqlitePathOf(const ManagerConfig& config);

}  // namespace dragonfly::manager
