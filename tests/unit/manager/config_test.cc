// SPDX-License-Identifier: Apache-2.0
#include "manager/config.h"

#include <map>

#include "base/status.h"
#include "base/text.h"
#include "config/section.h"
#include "gmock/gmock.h"
#include "gtest/gtest.h"
#include "tests/support/temp_dir.h"

namespace dragonfly::manager {
namespace {

using ::testing::AllOf;
using ::testing::ElementsAre;
using ::testing::HasSubstr;
using ::testing::IsEmpty;
using ::testing::Not;
using Type = ManagerConfig::Database::Type;

LoadedManagerConfig Parse(std::string_view text) {
  auto loaded = ParseManagerConfig(text, "manager.yaml");
  EXPECT_TRUE(loaded.ok()) << loaded.status();
  return loaded.ok() ? *std::move(loaded) : LoadedManagerConfig();
}

// The reason, or "" when the text loads.
std::string ErrorOf(std::string_view text) {
  const auto loaded = ParseManagerConfig(text, "manager.yaml");
  return loaded.ok() ? "" : std::string(MessageOf(loaded.status()));
}

TEST(ManagerConfig, HasTheDefaultsOfTheReferenceAndAnEmbeddedDatabase) {
  const ManagerConfig config = Parse("").config;
  EXPECT_EQ(config.server.grpc.port, 65003);
  EXPECT_EQ(config.server.rest.addr, ":8080");
  EXPECT_EQ(config.auth.realm, "Dragonfly");
  EXPECT_EQ(config.auth.jwt_key, "");
  EXPECT_EQ(config.auth.jwt_timeout, absl::Hours(14 * 24));
  EXPECT_EQ(config.auth.jwt_max_refresh, absl::Hours(7 * 24));
  EXPECT_EQ(config.database.type, Type::kSqlite);
  EXPECT_EQ(SqlitePathOf(config), "/var/lib/dragonfly/manager.db");
  EXPECT_EQ(config.database.mysql.port, 3306);
  EXPECT_EQ(config.database.postgres.port, 5432);
  EXPECT_EQ(config.database.redis.broker_db, 1);
  EXPECT_EQ(config.database.redis.backend_db, 2);
  EXPECT_EQ(config.metrics.addr, ":8000");
}

// The keys of the original's templates for docker-compose and Helm, v2.3.0.
TEST(ManagerConfig, LoadsAFileOfTheOriginal) {
  const LoadedManagerConfig loaded = Parse(R"(
server:
  grpc:
    advertiseIP: 10.0.0.1
    listenIP: 0.0.0.0
    port: {start: 65003, end: 65003}
  rest: {addr: ":8080"}
  workHome:
  logLevel: info
  cacheDir:
  logDir:
  pluginDir:
auth:
  jwt: {realm: Dragonfly, key: a-key-of-this-site, timeout: 48h, maxRefresh: 48h}
database:
  type: mysql
  mysql: {user: dragonfly, password: dragonfly, host: db, port: 3306, dbname: manager, migrate: true}
  redis: {addrs: ["redis:6379"], masterName: "", username: "", password: "", db: 0, brokerDB: 1, backendDB: 2}
cache: {redis: {ttl: 5m}, local: {size: 10000, ttl: 3m}}
job: {rateLimit: {fillInterval: 1m, capacity: 5, quantum: 5}, syncPeers: {interval: 24h, timeout: 10m}}
objectStorage: {enable: false}
metrics: {enable: true, addr: ":8000", enablePeerGauge: true}
network: {enableIPv6: false}
console: false
pprofPort: -1
)");
  EXPECT_THAT(loaded.warnings, IsEmpty());
  EXPECT_EQ(loaded.config.database.type, Type::kMysql);
  EXPECT_EQ(loaded.config.auth.jwt_timeout, absl::Hours(48));
  EXPECT_EQ(loaded.config.server.log_dir, "/var/log/dragonfly");
  EXPECT_THAT(loaded.config.database.redis.addrs, ElementsAre("redis:6379"));
}

TEST(ManagerConfig, TakesTheDatabaseThatIsConfigured) {
  EXPECT_EQ(Parse("database: {mysql: {user: u, host: h}}").config.database.type, Type::kMysql);
  EXPECT_EQ(Parse("database: {postgres: {user: u, host: h}}").config.database.type, Type::kPostgres);
  EXPECT_EQ(Parse("database: {type: mariadb, mysql: {user: u, host: h}}").config.database.type, Type::kMysql);
  EXPECT_EQ(Parse("database: {type: sqlite, mysql: {user: u, host: h}}").config.database.type, Type::kSqlite);
  EXPECT_THAT(ErrorOf("database: {type: postgres}"), AllOf(HasSubstr("database.postgres: user is required"),
                                                           HasSubstr("database.postgres: host is required")));
  EXPECT_THAT(ErrorOf("database: {type: oracle}"), HasSubstr("database.type"));
}

TEST(ManagerConfig, ReadsEveryKey) {
  const ManagerConfig config = Parse(R"(
console: true
pprofPort: 9999
pprofIP: 0.0.0.0
tracing: {protocol: grpc, endpoint: "jaeger:4317", path: /p, service-name: s, headers: {Token: secret}}
server:
  logDir: /l
  logLevel: warn
  logMaxSize: 5
  logMaxBackups: 3
  dataDir: /d
  grpc:
    advertiseIP: 10.0.0.1
    listenIP: "::1"
    port: {start: 65004}
    tls: {caCert: ca.pem, cert: c.pem, key: k.pem}
    requestRateLimit: 100.5
    reflection: false
  rest: {addr: "127.0.0.1:8081", bodyMax: 1MiB, timeout: 10s, corsOrigins: "https://a.example,https://b.example",
         tls: {cert: rc, key: rk, caCert: ra}, trustedProxies: "10.0.0.0/8,::1", addressRateLimit: 20, userRateLimit: 30}
auth:
  jwt: {realm: R, keyFile: /k, timeout: 1h, maxRefresh: 2h}
  rootPassword: something-long
  allowSignUp: false
  anonymousJobs: true
database:
  type: postgres
  connections: 3
  timeout: 5s
  sqlite: {path: /s.db}
  mysql: {user: mu, passwordFile: /mp, host: mh, port: 3307, dbname: md, tlsConfig: "false", migrate: false,
          tls: {caCert: mca, cert: mc, key: mk, insecureSkipVerify: true}}
  postgres: {user: pu, password: pp, host: ph, port: 5433, dbname: pd, sslMode: verify-full,
             preferSimpleProtocol: true, migrate: false}
  redis: {addrs: "a:1,b:2", masterName: m, username: u, password: p, sentinelUsername: su, sentinelPassword: sp,
          db: 3, brokerDB: 4, backendDB: 5, poolSize: 5, poolTimeout: 1s,
          tls: {caCert: ca, cert: c, key: k, insecureSkipVerify: true}}
job:
  preheat:
    registryTimeout: 5s
    tls: {caCert: /ca.pem, insecureSkipVerify: true}
    forbiddenNetworks: 10.0.0.0/8
    allowedNetworks: 10.1.0.0/16
  syncPeers: {interval: 13h, timeout: 1m, batchSize: 5}
scheduler: {tls: {caCert: sca, cert: sc, key: sk}}
metrics: {enable: true, addr: "127.0.0.1:8001"}
gc: {inactiveTTL: 90m}
network: {enableIPv6: true}
)")
                                   .config;
  EXPECT_TRUE(config.console);
  EXPECT_EQ(config.pprof_port, 9999);
  EXPECT_EQ(config.pprof_ip, "0.0.0.0");
  EXPECT_EQ(config.tracing.endpoint, "jaeger:4317");
  EXPECT_THAT(config.tracing.headers, ElementsAre(std::pair("token", "secret")));
  EXPECT_EQ(config.server.log_dir, "/l");
  EXPECT_EQ(config.server.log_level, "warn");
  EXPECT_EQ(config.server.log_size_max, 5);
  EXPECT_EQ(config.server.log_files_max, 3);
  EXPECT_EQ(config.server.data_dir, "/d");
  EXPECT_EQ(config.server.grpc.listen_ip, "::1");
  EXPECT_EQ(config.server.grpc.port, 65004);
  EXPECT_EQ(config.server.grpc.tls.cert, "c.pem");
  EXPECT_EQ(config.server.grpc.request_rate_limit, 100.5);
  EXPECT_FALSE(config.server.grpc.reflection);
  EXPECT_EQ(config.server.rest.addr, "127.0.0.1:8081");
  EXPECT_EQ(config.server.rest.body_max, 1u << 20);
  EXPECT_EQ(config.server.rest.timeout, absl::Seconds(10));
  EXPECT_THAT(config.server.rest.cors_origins, ElementsAre("https://a.example", "https://b.example"));
  EXPECT_EQ(config.server.rest.tls.cert, "rc");
  EXPECT_EQ(config.server.rest.tls.key, "rk");
  EXPECT_EQ(config.server.rest.tls.ca_cert, "ra");
  EXPECT_THAT(config.server.rest.trusted_proxies, ElementsAre("10.0.0.0/8", "::1"));
  EXPECT_EQ(config.server.rest.address_rate, 20);
  EXPECT_EQ(config.server.rest.user_rate, 30);
  EXPECT_EQ(config.gc.inactive_ttl, absl::Minutes(90));
  EXPECT_FALSE(config.database.mysql.verify);
  EXPECT_EQ(config.scheduler.tls.ca_cert, "sca");
  EXPECT_EQ(config.scheduler.tls.key, "sk");
  EXPECT_EQ(config.auth.realm, "R");
  EXPECT_EQ(config.auth.jwt_key_file, "/k");
  EXPECT_EQ(config.auth.jwt_timeout, absl::Hours(1));
  EXPECT_EQ(config.auth.jwt_max_refresh, absl::Hours(2));
  EXPECT_EQ(config.auth.root_password, "something-long");
  EXPECT_FALSE(config.auth.allow_sign_up);
  EXPECT_TRUE(config.auth.anonymous_jobs);
  EXPECT_EQ(config.database.connections, 3);
  EXPECT_EQ(config.database.timeout, absl::Seconds(5));
  EXPECT_EQ(config.database.sqlite.path, "/s.db");
  EXPECT_EQ(config.database.mysql.user, "mu");
  EXPECT_EQ(config.database.mysql.password_file, "/mp");
  EXPECT_EQ(config.database.mysql.port, 3307);
  EXPECT_EQ(config.database.mysql.dbname, "md");
  EXPECT_EQ(config.database.mysql.tls.key, "mk");
  EXPECT_FALSE(config.database.mysql.migrate);
  EXPECT_EQ(config.database.postgres.password, "pp");
  EXPECT_EQ(config.job.preheat.registry_timeout, absl::Seconds(5));
  EXPECT_EQ(config.job.preheat.ca_cert, "/ca.pem");
  EXPECT_TRUE(config.job.preheat.insecure_skip_verify);
  EXPECT_THAT(config.job.preheat.forbidden_networks, ElementsAre("10.0.0.0/8"));
  EXPECT_THAT(config.job.preheat.allowed_networks, ElementsAre("10.1.0.0/16"));
  EXPECT_EQ(config.job.sync_peers.interval, absl::Hours(13));
  EXPECT_EQ(config.job.sync_peers.timeout, absl::Minutes(1));
  EXPECT_EQ(config.database.postgres.port, 5433);
  EXPECT_EQ(config.database.postgres.ssl_mode, "verify-full");
  EXPECT_TRUE(config.database.postgres.prefer_simple_protocol);
  EXPECT_FALSE(config.database.postgres.migrate);
  EXPECT_THAT(config.database.redis.addrs, ElementsAre("a:1", "b:2"));
  EXPECT_EQ(config.database.redis.sentinel_password, "sp");
  EXPECT_EQ(config.database.redis.backend_db, 5);
  ASSERT_TRUE(config.database.redis.tls.has_value());
  EXPECT_FALSE(config.database.redis.tls->verify);
  EXPECT_EQ(config.metrics.addr, "127.0.0.1:8001");
  EXPECT_TRUE(config.enable_ipv6);
}

TEST(ManagerConfig, WarnsAboutSecretsThatEveryoneKnows) {
  EXPECT_THAT(Parse("auth: {jwt: {key: ZHJhZ29uZmx5Cg==}}").warnings,
              ElementsAre(HasSubstr("everyone can sign in as anyone")));
  EXPECT_THAT(Parse("auth: {rootPassword: dragonfly}").warnings, ElementsAre(HasSubstr("which everyone knows")));
}

// What the original's chart says, and the original ignores.
TEST(ManagerConfig, TakesTlsBelowServerForThatOfGrpc) {
  const LoadedManagerConfig loaded = Parse("server: {tls: {caCert: ca, cert: c, key: k}}");
  EXPECT_EQ(loaded.config.server.grpc.tls.ca_cert, "ca");
  EXPECT_THAT(loaded.warnings, ElementsAre(HasSubstr("server.tls: is taken for server.grpc.tls")));
}

TEST(ManagerConfig, TellsEverythingThatIsWrongAtOnce) {
  EXPECT_THAT(
      ErrorOf("server:\n  grpc:\n    port: {start: 70000}\n  rest: {addr: nowhere}\nauth: {jwt: {timeout: -1s}}"),
      AllOf(HasSubstr("manager.yaml:3: server.grpc.port.start"), HasSubstr("server.rest.addr"),
            HasSubstr("auth.jwt.timeout")));
  EXPECT_THAT(ErrorOf("auth: {jwt: {key: a, keyFile: b}}"), HasSubstr("exclude each other"));
  EXPECT_THAT(ErrorOf("server: {grpc: {tls: {cert: c}}}"), HasSubstr("must be given together"));
  EXPECT_THAT(ErrorOf("database: {mysql: {user: u, host: h, tlsConfig: skip-verify}}"), HasSubstr("tlsConfig"));
  EXPECT_THAT(ErrorOf("server: {rest: {corsOrigins: ['*']}}"), HasSubstr("is not an origin"));
  for (const char* const network : {"10.0.0.0/33", "::/129", "10.0.0/8", "host", "10.0.0.0/"}) {
    EXPECT_THAT(ErrorOf(StrCat("server: {rest: {trustedProxies: ['", network, "']}}")),
                HasSubstr("is no address or network"));
  }
  EXPECT_THAT(ErrorOf("scheduler: {tls: {cert: c}}"), HasSubstr("must be given together"));
}

TEST(ManagerConfig, RefusesWhatItCannotDo) {
  EXPECT_THAT(ErrorOf("database: {redis: {addrs: ['a:1'], proxy: {enable: true, addr: ':65100'}}}"),
              AllOf(HasSubstr("database.redis.proxy.enable"), HasSubstr("there is no proxy to Redis")));
  EXPECT_THAT(Parse("database: {redis: {proxy: {enable: false, addr: ':65100'}}}").warnings, IsEmpty());
  const std::string polardb =
      ErrorOf("database: {type: polardb, polardb: {user: u, password: p, addrList: 'h:1,i:2', dbname: d}}");
  EXPECT_THAT(polardb, AllOf(HasSubstr("database.type"), HasSubstr("database.polardb"), HasSubstr("database.mysql")));
  EXPECT_THAT(polardb, Not(HasSubstr("p1")));
}

TEST(ManagerConfig, PrintsAFileThatLoadsAgainWithoutItsSecrets) {
  ManagerConfig config;
  config.auth.jwt_key = "topsecret";
  config.server.rest.addr = "127.0.0.1:1234";
  const std::string yaml = DescribeManagerConfig(config).yaml;
  EXPECT_THAT(yaml, Not(HasSubstr("topsecret")));
  const LoadedManagerConfig again = Parse(yaml);
  EXPECT_EQ(again.config.server.rest.addr, "127.0.0.1:1234");
  EXPECT_EQ(again.config.database.type, Type::kSqlite);
}

TEST(ManagerConfig, TakesVariablesOfTheEnvironment) {
  const std::map<std::string, std::string> variables = {
      {"MANAGER_SERVER_REST_ADDR", "127.0.0.1:9"}, {"MANAGER_DATABASE_TYPE", "sqlite"}, {"MANAGER_AUTH_JWT_KEY", ""}};
  const auto get = [&](const char* name) -> const char* {
    const auto found = variables.find(name);
    return found == variables.end() ? nullptr : found->second.c_str();
  };
  const auto loaded = LoadManagerConfig("", get);
  ASSERT_TRUE(loaded.ok()) << loaded.status();
  EXPECT_EQ(loaded->config.server.rest.addr, "127.0.0.1:9");
  EXPECT_EQ(EnvironmentNameOf("tracing.service-name"), "MANAGER_TRACING_SERVICE_NAME");
}

TEST(ManagerConfig, NamesWhatThisHostLacks) {
  ManagerConfig config;
  config.console = true;
  config.auth.jwt_key_file = "/nowhere/key";
  config.server.grpc.tls.ca_cert = "/nowhere/ca.pem";
  config.server.grpc.tls.cert = "/nowhere/cert.pem";
  config.server.grpc.tls.key = "/nowhere/key.pem";
  EXPECT_THAT(CheckHost(config), ElementsAre(AllOf(HasSubstr("server.grpc.tls: "), HasSubstr("/nowhere/")),
                                             HasSubstr("auth.jwt.keyFile: cannot read /nowhere/key")));
}

}  // namespace
}  // namespace dragonfly::manager
