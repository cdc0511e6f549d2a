// SPDX-License-Identifier: Apache-2.0
#include "manager/config_reader.h"

#include <optional>
#include <string>
#include <utility>

#include "base/status.h"
#include "base/text.h"
#include "config/options.h"
#include "config/sections.h"
#include "http/networks.h"

namespace dragonfly::manager {
namespace {

using config::Address;
using config::Between;
using config::Directory;
using config::IgnoreAll;
using config::Ip;
using config::kDurationMaxSeconds;
using config::ListenAddress;
using config::OneOf;
using config::Path;
using config::ReadRedis;
using config::ReadRedisHost;
using config::ReadRedisTls;
using config::ReadTls;
using config::ReadTracing;
using config::Secret;
using config::Section;
using config::Text;
using config::Wrong;
using Opts = Section::Opts;
using Tls = ManagerConfig::TlsFiles;
using Type = ManagerConfig::Database::Type;

constexpr double kCountMax = 1e6;
// The key of the examples that come with the original: who knows it can sign in as anyone.
constexpr char kExampleKey[] = "ZHJhZ29uZmx5Cg==";

Opts Origin() {
  return Text("", [](const std::string& text) -> Wrong {
    if ((text.starts_with("http://") || text.starts_with("https://")) && !text.ends_with('/')) return std::nullopt;
    return StrCat(Quoted(text), " is not an origin, like https://console.example.com");
  });
}

Opts ProxyNetwork() {
  return Text("", [](const std::string& text) -> Wrong {
    if (http::Networks::Parse({text}).ok()) return std::nullopt;
    return StrCat(Quoted(text), " is no address or network, like 10.0.0.0/8");
  });
}

void ReadGrpc(Section& section, ManagerConfig::Server::Grpc& grpc) {
  std::string advertise_ip;
  section.String("advertiseIP", &advertise_ip, Ip());
  section.String("listenIP", &grpc.listen_ip, Ip());
  section.Sub("port", [&](Section& port) {
    Opts opts = Between(1, 65535);
    opts.kind = "port";
    port.Port("start", &grpc.port, opts);
    port.Ignore("end");
  });
  ReadTls(section, grpc.tls);
  section.Double("requestRateLimit", &grpc.request_rate_limit, Between(1, 1e9));
  section.Bool("reflection", &grpc.reflection);
}

void ReadRest(Section& section, ManagerConfig::Server::Rest& rest) {
  section.String("addr", &rest.addr, ListenAddress());
  if (rest.addr.empty()) section.Fail("addr", "must not be empty");
  using RestTls = ManagerConfig::Server::Rest::Tls;
  auto given = rest.tls.enabled() ? std::optional<RestTls>(rest.tls) : std::nullopt;
  section.Sub("tls", &given, [](Section& tls_section, RestTls& tls) {
    tls_section.String("cert", &tls.cert, Path());
    tls_section.String("key", &tls.key, Path());
    tls_section.String("caCert", &tls.ca_cert, Path());
    if (tls.cert.empty()) tls_section.Fail("cert", "cert and key must be given together");
    if (tls.key.empty()) tls_section.Fail("key", "cert and key must be given together");
  });
  rest.tls = given.value_or(RestTls());
  section.Bytes("bodyMax", &rest.body_max, Between(1024, 64 << 20));
  section.Duration("timeout", &rest.timeout, Between(1, 3600));
  section.Strings("corsOrigins", &rest.cors_origins, Origin());
  section.Strings("trustedProxies", &rest.trusted_proxies, ProxyNetwork());
  section.Double("addressRateLimit", &rest.address_rate, Between(0, 1e9));
  section.Double("userRateLimit", &rest.user_rate, Between(0, 1e9));
}

void ReadServer(Section& section, ManagerConfig::Server& server) {
  Directory(section, "logDir", &server.log_dir);
  section.String("logLevel", &server.log_level, OneOf({"debug", "info", "warn", "error", "panic", "fatal", "dpanic"}));
  section.Uint("logMaxSize", &server.log_size_max, Between(1, kCountMax));
  section.Uint("logMaxBackups", &server.log_files_max, Between(1, 10'000));
  Directory(section, "dataDir", &server.data_dir);
  section.Sub("grpc", [&](Section& grpc) { ReadGrpc(grpc, server.grpc); });
  section.Sub("rest", [&](Section& rest) { ReadRest(rest, server.rest); });
  IgnoreAll(section, {"name", "workHome", "cacheDir", "pluginDir", "logMaxAge"});
}

// The chart of the original puts the files of grpc.tls here, where the original does not look for them: a site that
// believes in its mutual TLS gets it.
void ReadServerTls(Section& section, ManagerConfig::Server& server) {
  if (!section.Has("tls")) return;
  Tls files;
  ReadTls(section, files);
  section.Warn("tls", "is taken for server.grpc.tls, where it belongs");
  if (!server.grpc.tls.enabled()) server.grpc.tls = files;
}

void ReadAuth(Section& section, ManagerConfig::Auth& auth) {
  section.Sub("jwt", [&](Section& jwt) {
    jwt.String("realm", &auth.realm);
    if (auth.realm.empty()) jwt.Fail("realm", "must not be empty");
    jwt.String("key", &auth.jwt_key, Secret());
    if (auth.jwt_key == kExampleKey) {
      jwt.Warn("key",
               "is the one of the public examples: everyone can sign in as anyone; remove it for one of our own");
    }
    jwt.String("keyFile", &auth.jwt_key_file, Path());
    if (!auth.jwt_key.empty() && !auth.jwt_key_file.empty()) jwt.Fail("keyFile", "key and keyFile exclude each other");
    jwt.Duration("timeout", &auth.jwt_timeout, Between(1, kDurationMaxSeconds));
    jwt.Duration("maxRefresh", &auth.jwt_max_refresh, Between(1, kDurationMaxSeconds));
  });
  section.String("rootPassword", &auth.root_password, Secret());
  if (auth.root_password == "dragonfly") {
    section.Warn("rootPassword", "is the one of the original, which everyone knows");
  }
  section.Bool("allowSignUp", &auth.allow_sign_up);
  section.Bool("anonymousJobs", &auth.anonymous_jobs);
}

template <typename Server>
void ReadLogin(Section& section, Server& server) {
  section.String("user", &server.user);
  section.String("password", &server.password, Secret());
  section.String("passwordFile", &server.password_file, Path());
  if (!server.password.empty() && !server.password_file.empty()) {
    section.Fail("passwordFile", "password and passwordFile exclude each other");
  }
  section.String("host", &server.host);
  Opts port = Between(1, 65535);
  port.kind = "port";
  section.Port("port", &server.port, port);
  section.String("dbname", &server.dbname);
  section.Bool("migrate", &server.migrate);
}

void ReadMysql(Section& section, ManagerConfig::Database::Mysql& mysql) {
  ReadLogin(section, mysql);
  section.String("tlsConfig", &mysql.tls_config, OneOf({"", "true", "false", "skip-verify", "preferred"}));
  if ((mysql.tls_config == "true" || mysql.tls_config == "skip-verify") && !section.Has("tls")) {
    section.Fail("tlsConfig", "is not enough for TLS here: tls must name the files");
  }
  auto given = mysql.tls.enabled() ? std::optional<Tls>(mysql.tls) : std::nullopt;
  section.Sub("tls", &given, [&mysql](Section& tls_section, Tls& tls) {
    for (const auto& [name, value] : {std::pair{"caCert", &tls.ca_cert}, {"cert", &tls.cert}, {"key", &tls.key}}) {
      tls_section.String(name, value, Path());
      if (value->empty()) tls_section.Fail(name, "caCert, cert and key must be given together");
    }
    bool insecure = !mysql.verify;
    tls_section.Bool("insecureSkipVerify", &insecure);
    mysql.verify = !insecure;
  });
  mysql.tls = given.value_or(Tls());
}

void ReadPostgres(Section& section, ManagerConfig::Database::Postgres& postgres) {
  ReadLogin(section, postgres);
  section.String("sslMode", &postgres.ssl_mode,
                 OneOf({"disable", "allow", "prefer", "require", "verify-ca", "verify-full"}));
  section.Bool("preferSimpleProtocol", &postgres.prefer_simple_protocol);
  section.String("timezone", &postgres.timezone);
  if (postgres.timezone != "UTC") section.Warn("timezone", "has no effect: sessions use UTC");
}

// A way to Redis through the manager, in the original: for anyone who reaches the port, in the clear.
void RefuseRedisProxy(Section& section) {
  section.Sub("proxy", [](Section& proxy) {
    bool enable = false;
    std::string addr;
    proxy.Bool("enable", &enable);
    proxy.String("addr", &addr, ListenAddress());
    if (enable) {
      proxy.Fail(
          "enable",
          "there is no proxy to Redis: give schedulers its address, or leave Redis out, so that jobs go by calls");
    }
  });
}

void ReadDatabase(Section& section, ManagerConfig::Database& database) {
  // A file without a type that configures a server means it: MySQL, as the original's default, or the one it names.
  if (database.type == Type::kSqlite) {
    if (section.Has("mysql")) database.type = Type::kMysql;
    if (!section.Has("mysql") && section.Has("postgres")) database.type = Type::kPostgres;
  }
  section.Enum(
      "type", &database.type,
      {{"sqlite", Type::kSqlite}, {"mysql", Type::kMysql}, {"mariadb", Type::kMysql}, {"postgres", Type::kPostgres}});
  section.Uint("connections", &database.connections, Between(1, 256));
  section.Duration("timeout", &database.timeout, Between(1, 3600));
  section.Sub("sqlite", [&](Section& sqlite) { sqlite.String("path", &database.sqlite.path, Path()); });
  section.Sub("mysql", [&](Section& mysql) { ReadMysql(mysql, database.mysql); });
  section.Sub("postgres", [&](Section& postgres) { ReadPostgres(postgres, database.postgres); });
  section.Sub("redis", [&](Section& redis) {
    ReadRedis(redis, database.redis);
    ReadRedisTls(redis, database.redis);
  });
}

// MySQL's protocol at several addresses, of releases from v2.4.4 on.
void RefusePolarDb(Section& section) {
  if (!section.Has("polardb")) return;
  section.Ignore("polardb");
  section.Fail("polardb", "is no database of its own here: give its address as that of database.mysql");
}

template <typename Server>
void RequireLogin(Section& section, std::string_view name, const Server& server) {
  if (server.user.empty()) section.Fail(name, "user is required");
  if (server.host.empty()) section.Fail(name, "host is required");
  if (server.dbname.empty()) section.Fail(name, "dbname is required");
}

Opts Network() {
  Opts opts = Text("network", [](const std::string& text) -> Wrong {
    const auto parsed = http::Networks::Parse({text});
    if (parsed.ok()) return std::nullopt;
    return std::string(MessageOf(parsed.status()));
  });
  opts.kind = "";
  return opts;
}

void ReadJob(Section& section, ManagerConfig::Job& job) {
  section.Sub("preheat", [&](Section& preheat) {
    preheat.Duration("registryTimeout", &job.preheat.registry_timeout, Between(1, 3600));
    preheat.Sub("tls", [&](Section& tls) {
      tls.String("caCert", &job.preheat.ca_cert);
      tls.Bool("insecureSkipVerify", &job.preheat.insecure_skip_verify);
    });
    preheat.Strings("forbiddenNetworks", &job.preheat.forbidden_networks, Network());
    preheat.Strings("allowedNetworks", &job.preheat.allowed_networks, Network());
  });
  section.Sub("syncPeers", [&](Section& sync) {
    sync.Duration("interval", &job.sync_peers.interval, Between(60, kDurationMaxSeconds));
    sync.Duration("timeout", &job.sync_peers.timeout, Between(1, 24 * 3600));
    sync.Ignore("batchSize");
  });
  // Of former releases, in whose place there is the row gc of configs, and a limit for each cluster.
  IgnoreAll(section, {"rateLimit", "gc"});
}

void ReadKeys(Section& root, ManagerConfig& config) {
  root.Bool("console", &config.console);
  root.Int("pprofPort", &config.pprof_port, Between(-1, 65535));
  root.String("pprofIP", &config.pprof_ip, Ip());
  root.Sub("tracing", [&](Section& section) { ReadTracing(section, config.tracing); });
  root.Sub("server", [&](Section& section) { ReadServer(section, config.server); });
  root.Sub("auth", [&](Section& section) { ReadAuth(section, config.auth); });
  root.Sub("database", [&](Section& section) { ReadDatabase(section, config.database); });
  root.Sub("job", [&](Section& section) { ReadJob(section, config.job); });
  root.Sub("scheduler", [&](Section& section) { ReadTls(section, config.scheduler.tls); });
  root.Sub("metrics", [&](Section& section) {
    section.Bool("enable", &config.metrics.enable);
    section.String("addr", &config.metrics.addr, ListenAddress());
    if (config.metrics.enable && config.metrics.addr.empty()) section.Fail("addr", "is required when metrics are on");
    section.Ignore("enablePeerGauge");
  });
  root.Sub("gc", [&](Section& section) {
    section.Duration("inactiveTTL", &config.gc.inactive_ttl, Between(0, kDurationMaxSeconds));
  });
  root.Sub("network", [&](Section& section) { section.Bool("enableIPv6", &config.enable_ipv6); });
}

}  // namespace

void ReadConfig(Section& root, ManagerConfig& config) {
  ReadKeys(root, config);
  root.Sub("server", [&](Section& section) { ReadServerTls(section, config.server); });
  root.Sub("database", [&](Section& section) {
    section.Sub("redis", [&](Section& redis) {
      ReadRedisHost(redis, config.database.redis);
      RefuseRedisProxy(redis);
    });
    RefusePolarDb(section);
  });
  root.Sub("database", [&](Section& section) {
    if (config.database.type == Type::kMysql) RequireLogin(section, "mysql", config.database.mysql);
    if (config.database.type == Type::kPostgres) RequireLogin(section, "postgres", config.database.postgres);
  });
  // Caches of the original.
  IgnoreAll(root, {"cache", "objectStorage", "verbose"});
}

void DescribeConfig(Section& root, ManagerConfig& config) { ReadKeys(root, config); }

}  // namespace dragonfly::manager
