// SPDX-License-Identifier: Apache-2.0
#include "scheduler/config.h"

#include <fstream>
#include <map>

#include "base/status.h"
#include "base/text.h"
#include "config/section.h"
#include "gmock/gmock.h"
#include "gtest/gtest.h"
#include "tests/support/temp_dir.h"

namespace dragonfly::scheduler {
namespace {

using ::testing::AllOf;
using ::testing::ElementsAre;
using ::testing::HasSubstr;
using ::testing::IsEmpty;
using ::testing::Not;

LoadedSchedulerConfig Parse(std::string_view text) {
  auto loaded = ParseSchedulerConfig(text, "scheduler.yaml");
  EXPECT_TRUE(loaded.ok()) << loaded.status();
  return loaded.ok() ? *std::move(loaded) : LoadedSchedulerConfig();
}

const char* NoVariable(const char*) { return nullptr; }

GetEnvironment With(std::map<std::string, std::string> variables) {
  return [variables = std::move(variables)](const char* name) -> const char* {
    const auto found = variables.find(name);
    return found == variables.end() ? nullptr : found->second.c_str();
  };
}

// The reason, or "" when the text loads.
std::string ErrorOf(std::string_view text) {
  const auto loaded = ParseSchedulerConfig(text, "scheduler.yaml");
  return loaded.ok() ? "" : std::string(MessageOf(loaded.status()));
}

TEST(SchedulerConfig, HasTheDefaultsOfTheReference) {
  const SchedulerConfig config = Parse("").config;
  EXPECT_FALSE(config.console);
  EXPECT_EQ(config.pprof_port, -1);
  EXPECT_EQ(config.tracing.path, "/v1/traces");
  EXPECT_EQ(config.tracing.service_name, "scheduler");
  EXPECT_EQ(config.server.port, 8002);
  EXPECT_EQ(config.server.cache_dir, "/var/cache/dragonfly");
  EXPECT_EQ(config.server.log_dir, "/var/log/dragonfly");
  EXPECT_EQ(config.server.log_level, "info");
  EXPECT_EQ(config.server.log_size_max, 1024);
  EXPECT_EQ(config.server.log_files_max, 20);
  EXPECT_EQ(config.scheduling.piece_download_timeout, absl::Minutes(30));
  EXPECT_EQ(config.scheduling.peer_gc_interval, absl::Seconds(10));
  EXPECT_EQ(config.scheduling.task_gc_interval, absl::Minutes(30));
  EXPECT_EQ(config.scheduling.host_gc_interval, absl::Minutes(5));
  EXPECT_EQ(config.scheduling.host_ttl, absl::Hours(1));
  EXPECT_THAT(config.redis.addrs, IsEmpty());
  EXPECT_EQ(config.redis.pool_size, 20);
  EXPECT_EQ(config.redis.pool_timeout, absl::Seconds(10));
  EXPECT_EQ(config.redis.broker_db, 1);
  EXPECT_EQ(config.redis.backend_db, 2);
  EXPECT_EQ(config.dynconfig.refresh_interval, absl::Minutes(1));
  EXPECT_EQ(config.manager.addr, "");
  EXPECT_EQ(config.manager.scheduler_cluster_id, 1);
  EXPECT_EQ(config.manager.keep_alive_interval, absl::Seconds(5));
  EXPECT_EQ(config.seed_peer.task_download_timeout, absl::Hours(10));
  EXPECT_TRUE(config.job.enable);
  EXPECT_EQ(config.job.local_workers, 1000);
  EXPECT_EQ(config.metrics.addr, ":8000");
  EXPECT_FALSE(config.enable_ipv6);
  EXPECT_EQ(config.scheduling.algorithm, "load");
  EXPECT_EQ(config.scheduling.back_to_source_count, 200);
  EXPECT_EQ(config.scheduling.retry_back_to_source_limit, 4);
  EXPECT_EQ(config.scheduling.retry_limit, 5);
  EXPECT_EQ(config.scheduling.retry_interval, absl::Milliseconds(500));
  EXPECT_EQ(config.scheduling.peer_ttl, absl::Hours(24));
  EXPECT_TRUE(config.seed_peer.enable);
  EXPECT_FALSE(config.metrics.enable);
}

// The keys of the original's templates for docker-compose and Helm, v2.3.0.
TEST(SchedulerConfig, LoadsAFileOfTheOriginalWithoutAComplaint) {
  const LoadedSchedulerConfig loaded = Parse(R"(
server:
  advertiseIP: 10.0.0.1
  port: 8003
  workHome:
  logLevel: info
  cacheDir: ""
  pluginDir: ""
  dataDir: ""
scheduler:
  algorithm: default
  backToSourceCount: 200
  retryBackToSourceLimit: 3
  retryLimit: 5
  retryInterval: 400ms
  gc:
    pieceDownloadTimeout: 30m
    peerGCInterval: 10s
    peerTTL: 720h
    taskGCInterval: 30m
    hostGCInterval: 5m
    hostTTL: 1h
dynconfig:
  refreshInterval: 90s
  type: manager
host:
  idc: ''
  location: ''
seedPeer:
  enable: true
job:
  enable: true
  globalWorkerNum: 1
storage:
  maxSize: 1
metrics:
  enable: true
  addr: ":8000"
  enableHost: true
security:
  autoIssueCert: false
network:
  enableIPv6: false
console: true
pprofPort: -1
tracing:
  addr: ""
)");
  EXPECT_THAT(loaded.warnings, IsEmpty());
  EXPECT_EQ(loaded.config.server.port, 8003);
  EXPECT_EQ(loaded.config.scheduling.retry_interval, absl::Milliseconds(400));
  EXPECT_EQ(loaded.config.scheduling.peer_ttl, absl::Hours(720));
  EXPECT_TRUE(loaded.config.metrics.enable);
  EXPECT_TRUE(loaded.config.console);
  EXPECT_EQ(loaded.config.server.advertise_ip, "10.0.0.1");
  EXPECT_EQ(loaded.config.server.cache_dir, "/var/cache/dragonfly");
  EXPECT_EQ(loaded.config.dynconfig.refresh_interval, absl::Seconds(90));
}

// What deployments really say, docs/compatibility: code, docker-compose, Helm 1.4.0, later Helm.
TEST(SchedulerConfig, TakesTheValuesOfEachDeployment) {
  for (const auto& [limit, interval, ttl] :
       {std::tuple{4, "500ms", "24h"}, {3, "400ms", "24h"}, {3, "1s", "720h"}, {3, "2s", "720h"}}) {
    const LoadedSchedulerConfig loaded = Parse(StrCat("scheduler: {retryBackToSourceLimit: ", limit,
                                                      ", retryInterval: ", interval, ", gc: {peerTTL: ", ttl, "}}"));
    EXPECT_THAT(loaded.warnings, IsEmpty());
    EXPECT_EQ(loaded.config.scheduling.retry_back_to_source_limit, limit);
    EXPECT_EQ(absl::FormatDuration(loaded.config.scheduling.retry_interval), interval);
    EXPECT_EQ(absl::FormatDuration(loaded.config.scheduling.peer_ttl), std::string(ttl));
  }
  EXPECT_EQ(Parse("server: {requestRateLimit: 4000}").config.server.request_rate_limit, 4000);
}

TEST(SchedulerConfig, ReadsEveryKey) {
  const SchedulerConfig config = Parse(R"(
console: true
pprofPort: 9999
pprofIP: 0.0.0.0
tracing: {protocol: grpc, endpoint: "jaeger:4317", path: /p, service-name: s, headers: {Token: secret}}
server:
  advertiseIP: 10.0.0.1
  advertisePort: 8102
  listenIP: "::1"
  port: 8003
  host: one
  tls: {caCert: ca.pem, cert: c.pem, key: k.pem}
  cacheDir: /c
  logDir: /l
  logLevel: warn
  logMaxSize: 5
  logMaxAge: 1
  logMaxBackups: 3
  pluginDir: /p
  dataDir: /d
  requestRateLimit: 4000.5
  reflection: false
scheduler:
  algorithm: ml
  backToSourceCount: 7
  retryBackToSourceLimit: 2
  retryLimit: 3
  retryInterval: 1m30s
  gc: {pieceDownloadTimeout: 1m, peerGCInterval: 2m, peerTTL: 3m, taskGCInterval: 4m, hostGCInterval: 5m, hostTTL: 6m}
database:
  redis: {addrs: "a:1,b:2", masterName: m, username: u, password: p, sentinelUsername: su, sentinelPassword: sp,
          poolSize: 5, poolTimeout: 1s, db: 3, brokerDB: 4, backendDB: 5,
          tls: {caCert: ca, cert: c, key: k, insecureSkipVerify: true}}
dynConfig: {refreshInterval: 10s}
manager:
  addr: "manager:65003"
  tls: {caCert: mca, cert: mc, key: mk}
  schedulerClusterID: 9
  keepAlive: {interval: 2s}
seedPeer: {enable: false, tls: {caCert: sca, cert: sc, key: sk}, taskDownloadTimeout: 1h}
peer: {tls: {caCert: pca, cert: pc, key: pk}}
host: {idc: i, location: l}
job:
  enable: false
  globalWorkerNum: 1
  schedulerWorkerNum: 2
  localWorkerNum: 3
  preheat: {forbiddenNetworks: 10.0.0.0/8, allowedNetworks: 10.1.0.0/16}
metrics: {enable: true, addr: "127.0.0.1:8001", enableHost: true}
network: {enableIPv6: true}
)")
                                     .config;
  EXPECT_TRUE(config.console);
  EXPECT_EQ(config.pprof_port, 9999);
  EXPECT_EQ(config.pprof_ip, "0.0.0.0");
  EXPECT_EQ(config.tracing.protocol, "grpc");
  EXPECT_EQ(config.tracing.endpoint, "jaeger:4317");
  EXPECT_EQ(config.tracing.path, "/p");
  EXPECT_EQ(config.tracing.service_name, "s");
  EXPECT_THAT(config.tracing.headers, ElementsAre(std::pair("token", "secret")));
  EXPECT_EQ(config.server.advertise_ip, "10.0.0.1");
  EXPECT_EQ(config.server.advertise_port, 8102);
  EXPECT_EQ(config.server.listen_ip, "::1");
  EXPECT_EQ(config.server.port, 8003);
  EXPECT_EQ(config.server.host, "one");
  EXPECT_EQ(config.server.tls.key, "k.pem");
  EXPECT_EQ(config.server.cache_dir, "/c");
  EXPECT_EQ(config.server.log_dir, "/l");
  EXPECT_EQ(config.server.log_level, "warn");
  EXPECT_EQ(config.server.log_size_max, 5);
  EXPECT_EQ(config.server.log_files_max, 3);
  EXPECT_EQ(config.server.request_rate_limit, 4000.5);
  EXPECT_FALSE(config.server.reflection);
  EXPECT_EQ(config.scheduling.algorithm, "ml");
  EXPECT_EQ(config.scheduling.back_to_source_count, 7);
  EXPECT_EQ(config.scheduling.retry_back_to_source_limit, 2);
  EXPECT_EQ(config.scheduling.retry_limit, 3);
  EXPECT_EQ(config.scheduling.retry_interval, absl::Seconds(90));
  EXPECT_EQ(config.scheduling.piece_download_timeout, absl::Minutes(1));
  EXPECT_EQ(config.scheduling.peer_gc_interval, absl::Minutes(2));
  EXPECT_EQ(config.scheduling.peer_ttl, absl::Minutes(3));
  EXPECT_EQ(config.scheduling.task_gc_interval, absl::Minutes(4));
  EXPECT_EQ(config.scheduling.host_gc_interval, absl::Minutes(5));
  EXPECT_EQ(config.scheduling.host_ttl, absl::Minutes(6));
  EXPECT_THAT(config.redis.addrs, ElementsAre("a:1", "b:2"));
  EXPECT_EQ(config.redis.master_name, "m");
  EXPECT_EQ(config.redis.username, "u");
  EXPECT_EQ(config.redis.password, "p");
  EXPECT_EQ(config.redis.sentinel_username, "su");
  EXPECT_EQ(config.redis.sentinel_password, "sp");
  EXPECT_EQ(config.redis.pool_size, 5);
  EXPECT_EQ(config.redis.pool_timeout, absl::Seconds(1));
  EXPECT_EQ(config.redis.db, 3);
  EXPECT_EQ(config.redis.broker_db, 4);
  EXPECT_EQ(config.redis.backend_db, 5);
  ASSERT_TRUE(config.redis.tls.has_value());
  EXPECT_EQ(config.redis.tls->ca_cert, "ca");
  EXPECT_FALSE(config.redis.tls->verify);
  EXPECT_EQ(config.dynconfig.refresh_interval, absl::Seconds(10));
  EXPECT_EQ(config.manager.addr, "manager:65003");
  EXPECT_EQ(config.manager.tls.cert, "mc");
  EXPECT_EQ(config.manager.scheduler_cluster_id, 9);
  EXPECT_EQ(config.manager.keep_alive_interval, absl::Seconds(2));
  EXPECT_THAT(config.job.preheat.forbidden_networks, ElementsAre("10.0.0.0/8"));
  EXPECT_THAT(config.job.preheat.allowed_networks, ElementsAre("10.1.0.0/16"));
  EXPECT_EQ(config.job.local_workers, 3);
  EXPECT_FALSE(config.seed_peer.enable);
  EXPECT_EQ(config.seed_peer.tls.ca_cert, "sca");
  EXPECT_EQ(config.seed_peer.task_download_timeout, absl::Hours(1));
  EXPECT_EQ(config.peer.tls.key, "pk");
  EXPECT_EQ(config.host.idc, "i");
  EXPECT_EQ(config.host.location, "l");
  EXPECT_FALSE(config.job.enable);
  EXPECT_EQ(config.job.global_workers, 1);
  EXPECT_EQ(config.job.scheduler_workers, 2);
  EXPECT_EQ(config.job.local_workers, 3);
  EXPECT_EQ(config.metrics.addr, "127.0.0.1:8001");
  EXPECT_TRUE(config.metrics.enable_host);
  EXPECT_TRUE(config.enable_ipv6);
}

TEST(SchedulerConfig, KeysAreFoundInAnyCaseAndNumbersMayBeQuoted) {
  const SchedulerConfig config = Parse("SERVER: {Port: '8005'}\nConsole: 'true'").config;
  EXPECT_EQ(config.server.port, 8005);
  EXPECT_TRUE(config.console);
  // A bare integer counts nanoseconds, which is below what makes sense.
  EXPECT_THAT(ErrorOf("dynconfig: {refreshInterval: 1000}"), HasSubstr("dynconfig.refreshInterval"));
}

// Section 6 of the reference of the configuration.
TEST(SchedulerConfig, TakesWhatFormerReleasesCalledOtherwise) {
  EXPECT_THAT(Parse("job: {redis: {addrs: ['a:1']}}").config.redis.addrs, ElementsAre("a:1"));
  EXPECT_THAT(Parse("job: {redis: {host: h, port: 6379}}").config.redis.addrs, ElementsAre("h:6379"));
  EXPECT_THAT(Parse("database: {redis: {host: '::1', port: 6379}}").config.redis.addrs, ElementsAre("[::1]:6379"));
  EXPECT_THAT(Parse("job: {redis: {host: h}}").config.redis.addrs, IsEmpty());
  EXPECT_THAT(Parse("database: {redis: {addrs: ['new:1']}}\njob: {redis: {addrs: ['old:1']}}").config.redis.addrs,
              ElementsAre("new:1"));
  const SchedulerConfig::Redis redis =
      Parse(
          "database: {redis: {username: new, brokerDB: 0}}\n"
          "job: {redis: {masterName: m, username: old, password: p, sentinelUsername: su, sentinelPassword: sp, "
          "brokerDB: 7, backendDB: 8}}")
          .config.redis;
  EXPECT_EQ(redis.master_name, "m");
  EXPECT_EQ(redis.username, "new");
  EXPECT_EQ(redis.password, "p");
  EXPECT_EQ(redis.sentinel_username, "su");
  EXPECT_EQ(redis.sentinel_password, "sp");
  EXPECT_EQ(redis.broker_db, 7);  // only in place of an explicit 0
  EXPECT_EQ(redis.backend_db, 2);
}

TEST(SchedulerConfig, VariablesWinOverTheFile) {
  const dragonfly::testing::TempDir dir;
  dir.Write("scheduler.yaml", "server:\n  port: 8003\n  logDir: /file\nSeedPeer: {enable: true}\n");
  const std::string path = (dir.path() / "scheduler.yaml").string();
  const auto loaded = LoadSchedulerConfig(path, With({{"SCHEDULER_SERVER_PORT", "8004"},
                                                      {"SCHEDULER_SEEDPEER_ENABLE", "false"},
                                                      {"SCHEDULER_SCHEDULER_GC_PEERTTL", "720h"},
                                                      {"SCHEDULER_DATABASE_REDIS_ADDRS", "a:1,b:2"},
                                                      {"SCHEDULER_HOST_IDC", ""},
                                                      {"SCHEDULER_PORT", "tcp://10.0.0.1:8002"}}));
  ASSERT_TRUE(loaded.ok()) << loaded.status();
  EXPECT_EQ(loaded->config.server.port, 8004);
  EXPECT_EQ(loaded->config.server.log_dir, "/file");
  EXPECT_FALSE(loaded->config.seed_peer.enable);
  EXPECT_EQ(loaded->config.scheduling.peer_ttl, absl::Hours(720));
  EXPECT_THAT(loaded->config.redis.addrs, ElementsAre("a:1", "b:2"));

  const auto without_file = LoadSchedulerConfig("", With({{"SCHEDULER_CONSOLE", "true"}}));
  ASSERT_TRUE(without_file.ok()) << without_file.status();
  EXPECT_TRUE(without_file->config.console);
}

TEST(SchedulerConfig, AWrongVariableIsNamed) {
  const auto loaded = LoadSchedulerConfig("", With({{"SCHEDULER_SERVER_PORT", "many"}}));
  ASSERT_FALSE(loaded.ok());
  EXPECT_THAT(std::string(MessageOf(loaded.status())), HasSubstr("SCHEDULER_SERVER_PORT: server.port: must be"));
}

TEST(SchedulerConfig, AFileThatIsNotThereIsAnError) {
  EXPECT_TRUE(absl::IsNotFound(LoadSchedulerConfig("/nowhere/scheduler.yaml", NoVariable).status()));
}

TEST(SchedulerConfig, WhatItPrintsLoadsAgain) {
  SchedulerConfig config = Parse(
                               "server: {tls: {caCert: a, cert: b, key: c}, host: one, advertisePort: 8002}\n"
                               "tracing: {headers: {a: b}}\ndatabase: {redis: {password: hunter2}}")
                               .config;
  for (const SchedulerConfig& each : {config, SchedulerConfig()}) {
    const std::string yaml = DescribeSchedulerConfig(each).yaml;
    EXPECT_THAT(yaml, Not(HasSubstr("hunter2")));
    EXPECT_EQ(ErrorOf(yaml), "") << yaml;
    EXPECT_EQ(DescribeSchedulerConfig(Parse(yaml).config).yaml, yaml);
  }
}

TEST(SchedulerConfig, ChecksWhatItNamesOnThisHost) {
  const dragonfly::testing::TempDir dir;
  dir.Write("plain", "no directory");
  SchedulerConfig config;
  config.server.log_dir = (dir.path() / "log").string();
  EXPECT_THAT(CheckHost(config), IsEmpty());
  config.server.tls = config.peer.tls = config.manager.tls = config.seed_peer.tls = [] {
    SchedulerConfig::TlsFiles files;
    files.ca_cert = files.cert = files.key = "/nowhere/x.pem";
    return files;
  }();
  EXPECT_THAT(CheckHost(config),
              ElementsAre(AllOf(HasSubstr("server.tls: "), HasSubstr("/nowhere/x.pem")), HasSubstr("manager.tls: "),
                          HasSubstr("seedPeer.tls: "), HasSubstr("peer.tls: ")));
}

TEST(SchedulerConfig, WarnsOfUnknownKeysAndOfWhatHasNoEffect) {
  EXPECT_THAT(Parse("scheduler: {retryLimt: 3}").warnings, ElementsAre(HasSubstr("scheduler.retryLimt")));
  EXPECT_THAT(Parse("tracing: {protocol: grpc}").warnings, ElementsAre(HasSubstr("tracing.protocol: has no effect")));
  EXPECT_THAT(Parse("scheduler: {retryBackToSourceLimit: 6}").warnings,
              ElementsAre(HasSubstr("retryBackToSourceLimit")));
}

struct Wrong {
  const char* text;
  const char* key;
};

TEST(SchedulerConfig, NamesWrongValues) {
  for (const Wrong& wrong : std::vector<Wrong>{
           {"server: {port: 0}", "server.port"},
           {"server: {listenIP: localhost}", "server.listenIP"},
           {"server: {logLevel: loud}", "server.logLevel"},
           {"server: {tls: {caCert: ca.pem}}", "server.tls.cert"},
           {"server: {requestRateLimit: -1}", "server.requestRateLimit"},
           {"scheduler: {algorithm: plugin}", "scheduler.algorithm"},
           {"scheduler: {backToSourceCount: 0}", "scheduler.backToSourceCount"},
           {"scheduler: {retryBackToSourceLimit: 0}", "scheduler.retryBackToSourceLimit"},
           {"scheduler: {retryLimit: 0}", "scheduler.retryLimit"},
           {"scheduler: {retryInterval: 0}", "scheduler.retryInterval"},
           {"scheduler: {retryInterval: soon}", "scheduler.retryInterval"},
           {"scheduler: {gc: {peerTTL: 0s}}", "scheduler.gc.peerTTL"},
           {"scheduler: {algorithm: ''}", "scheduler.algorithm"},
           {"scheduler: {gc: {pieceDownloadTimeout: 0s}}", "scheduler.gc.pieceDownloadTimeout"},
           {"scheduler: {gc: {peerGCInterval: 0s}}", "scheduler.gc.peerGCInterval"},
           {"scheduler: {gc: {taskGCInterval: 0s}}", "scheduler.gc.taskGCInterval"},
           {"scheduler: {gc: {hostGCInterval: -1s}}", "scheduler.gc.hostGCInterval"},
           {"scheduler: {gc: {hostTTL: 0s}}", "scheduler.gc.hostTTL"},
           {"database: {redis: {brokerDB: -1}}", "database.redis.brokerDB"},
           {"database: {redis: {backendDB: -1}}", "database.redis.backendDB"},
           {"database: {redis: {addrs: [redis]}}", "database.redis.addrs"},
           {"database: {redis: {tls: {cert: c}}}", "database.redis.tls.caCert"},
           {"database: {redis: {tls: {caCert: a, cert: c}}}", "database.redis.tls.key"},
           {"dynConfig: {refreshInterval: 0s}", "dynConfig.refreshInterval"},
           {"manager: {addr: manager}", "manager.addr"},
           {"manager: {tls: {cert: c}}", "manager.tls.caCert"},
           {"manager: {schedulerClusterID: 0}", "manager.schedulerClusterID"},
           {"manager: {keepAlive: {interval: 0s}}", "manager.keepAlive.interval"},
           {"seedPeer: {taskDownloadTimeout: 0s}", "seedPeer.taskDownloadTimeout"},
           {"seedPeer: {tls: {}}", "seedPeer.tls.caCert"},
           {"peer: {tls: {key: k}}", "peer.tls.cert"},
           {"job: {globalWorkerNum: 0}", "job.globalWorkerNum"},
           {"job: {schedulerWorkerNum: 0}", "job.schedulerWorkerNum"},
           {"job: {localWorkerNum: 0}", "job.localWorkerNum"},
           {"job: {preheat: {forbiddenNetworks: [10.0.0.0/33]}}", "job.preheat.forbiddenNetworks"},
           {"metrics: {enable: true, addr: ''}", "metrics.addr"},
           {"metrics: {addr: '8000'}", "metrics.addr"},
           {"tracing: {protocol: udp}", "tracing.protocol"},
           {"tracing: {endpoint: jaeger}", "tracing.endpoint"},
           {"pprofPort: 70000", "pprofPort"},
           {"server: {advertiseIP: me}", "server.advertiseIP"},
       }) {
    const auto loaded = ParseSchedulerConfig(wrong.text, "scheduler.yaml");
    ASSERT_FALSE(loaded.ok()) << wrong.text;
    EXPECT_THAT(std::string(loaded.status().message()), HasSubstr(wrong.key)) << wrong.text;
  }
}

TEST(SchedulerConfig, NegativeCountsAreTheOriginalsSwitches) {
  const SchedulerConfig config = Parse("scheduler: {backToSourceCount: -1, retryBackToSourceLimit: -1}").config;
  EXPECT_EQ(config.scheduling.back_to_source_count, -1);
  EXPECT_EQ(config.scheduling.retry_back_to_source_limit, -1);
}

}  // namespace
}  // namespace dragonfly::scheduler
