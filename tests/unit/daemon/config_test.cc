// SPDX-License-Identifier: Apache-2.0
#include "daemon/config.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <unistd.h>

#include <filesystem>
#include <fstream>
#include <map>

#include "base/status.h"

namespace dragonfly::daemon {
namespace {

using ::testing::Each;
using ::testing::ElementsAre;
using ::testing::HasSubstr;
using ::testing::IsEmpty;
using ::testing::Not;

LoadedConfig Parse(std::string_view text) {
  auto loaded = ParseDaemonConfig(text, "dfdaemon.yaml");
  EXPECT_TRUE(loaded.ok()) << loaded.status();
  return loaded.ok() ? *std::move(loaded) : LoadedConfig();
}

std::string ErrorOf(std::string_view text) {
  const auto loaded = ParseDaemonConfig(text, "dfdaemon.yaml");
  EXPECT_FALSE(loaded.ok()) << text;
  return std::string(MessageOf(loaded.status()));
}

class TempDir {
 public:
  TempDir() {
    std::string name = (std::filesystem::temp_directory_path() / "daemon_config_XXXXXX").string();
    path_ = ::mkdtemp(name.data());
  }
  ~TempDir() { std::filesystem::remove_all(path_); }
  std::string Write(const std::string& name, std::string_view text) const {
    const std::string path = path_ + "/" + name;
    std::ofstream(path) << text;
    return path;
  }
  std::string Path(const std::string& name) const { return path_ + "/" + name; }

 private:
  std::string path_;
};

// The example files of client v1.0.0 and every key of v1.5.1.
constexpr std::string_view kSeedPeerExample = R"(
host:
  idc: dc1
  location: eu|de|fra
manager:
  addr: http://manager.example:65003
seedPeer:
  enable: true
  type: super
  clusterID: 1
storage:
  dir: /data/dragonfly
  keep: true
gc:
  interval: 15m
  policy:
    taskTTL: 6h
    distThreshold: 500GiB
    distHighThresholdPercent: 80
    distLowThresholdPercent: 60
download:
  rateLimit: 5GiB
  concurrentPieceCount: 16
proxy:
  prefetch: true
  rules:
    - regex: 'blobs/sha256.*'
)";

constexpr std::string_view kEveryKeyOld = R"(
host: {idc: a, location: b, hostname: h, ip: 10.0.0.1}
server: {pluginDir: /p, cacheDir: /c}
download:
  server: {socketPath: /s.sock, requestRateLimit: 4000}
  parentSelector: {enable: true, syncInterval: 3s, capacity: 20}
  rateLimit: 10GiB
  pieceTimeout: 120s
  collectedPieceTimeout: 10s
  concurrentPieceCount: 8
upload:
  server: {ip: 0.0.0.0, port: 4000, requestRateLimit: 4000}
  disableShared: false
  rateLimit: 10GiB
manager: {addr: "http://m:65003"}
scheduler: {announceInterval: 300s, scheduleTimeout: 3h, maxScheduleCount: 5}
seedPeer: {enable: false, type: weak, clusterID: 1, keepaliveInterval: 15s}
dynconfig: {refreshInterval: 300s}
network: {enableIpv6: false}
security: {enable: false}
storage:
  server: {protocol: grpc}
  dir: /var/lib/dragonfly/
  keep: false
  writePieceTimeout: 90s
  writeBufferSize: 4194304
  readBufferSize: 4194304
  cacheCapacity: 64MiB
gc:
  interval: 900s
  policy: {taskTTL: 21600s, distThreshold: 0, distHighThresholdPercent: 80, distLowThresholdPercent: 60}
proxy:
  server:
    ip: 0.0.0.0
    port: 4001
    caCert: /ca.pem
    caKey: /ca.key
    basicAuth: {username: u, password: p}
  rules:
    - {regex: '.*', useTLS: true, insecureSkipVerify: true, redirect: "r:80", filteredQueryParams: [a, b]}
  registryMirror: {addr: "https://index.docker.io", cert: /r.pem}
  disableBackToSource: false
  prefetch: false
  prefetchRateLimit: 2GiB
  readBufferSize: 4194304
health: {server: {ip: 0.0.0.0, port: 4003}}
metrics: {server: {ip: 0.0.0.0, port: 4002}}
stats: {server: {ip: 0.0.0.0, port: 4004}}
tracing: {protocol: grpc, endpoint: "o:4317", path: /v1/traces, headers: {a: b}}
)";

constexpr std::string_view kEveryKeyNew = R"(
host: {schedulerClusterID: 3}
server:
  adaptiveRateLimit:
    bucketCount: 50
    bucketInterval: 200ms
    cpuThreshold: 100
    memoryThreshold: 90
    shedCooldown: 5s
    collectInterval: 3s
download:
  server: {requestRateLimit: 400, requestBufferSize: 50}
  protocol: tcp
  bandwidthLimit: 50GB
  backToSourceBandwidthLimit: 40GB
upload:
  server: {requestRateLimit: 400, requestBufferSize: 50}
  bandwidthLimit: 30GB
network: {enableIPv6: true}
storage:
  server: {ip: "::", tcpPort: 4005, tcpFastopen: false, quicPort: 4006}
  writeBufferSize: 512KiB
  readBufferSize: 524288
gc:
  policy:
    taskTTL: 30d
    persistentTaskTTL: 1d
    persistentCacheTaskTTL: 1d
    pageCacheIdleTimeout: 40m
    diskThreshold: 1TiB
    diskHighThresholdPercent: 70
    diskLowThresholdPercent: 50
proxy:
  server: {requestRateLimit: 4000}
  registryMirror: {enableTaskIDBasedBlobDigest: true}
  prefetchBandwidthLimit: 10GB
backend:
  requestHeader: {X-Team: storage}
  maxRetries: 2
  enableCacheTemporaryRedirect: true
  cacheTemporaryRedirectTTL: 600s
  putConcurrentChunkCount: 16
  putChunkSize: 8MiB
  putTimeout: 900s
  enableHickoryDNS: true
)";

TEST(DaemonConfig, AnEmptyFileMeansTheDefaults) {
  const LoadedConfig loaded = Parse("");
  EXPECT_THAT(loaded.warnings, IsEmpty());
  EXPECT_EQ(loaded.config.download.socket_path, "/var/run/dragonfly/dfdaemon.sock");
  EXPECT_EQ(loaded.config.upload.port, 4000);
  EXPECT_EQ(loaded.config.storage.tcp_port, 4005);
  EXPECT_EQ(loaded.config.gc.task_ttl, absl::Hours(24 * 30));
  EXPECT_EQ(loaded.config.scheduler.schedule_timeout, absl::Hours(3));
  EXPECT_EQ(loaded.config.upload.ip, "0.0.0.0");
}

TEST(DaemonConfig, LoadsTheOriginalsFilesAndWarnsOnlyOfWhatHasNoEffect) {
  for (const std::string_view text : {std::string_view("manager:\n  addr: http://manager.example:65003\n"),
                                      kSeedPeerExample, kEveryKeyOld, kEveryKeyNew}) {
    EXPECT_THAT(Parse(text).warnings, Each(HasSubstr("effect"))) << text;
  }
  EXPECT_THAT(Parse("manager: {addr: 'http://m:65003'}").warnings, IsEmpty());
  // server.cacheDir, the three of download.parentSelector, security.enable, storage.server.protocol,
  // the timeout and the sizes of storage.
  EXPECT_EQ(Parse(kEveryKeyOld).warnings.size(), 9u);
  EXPECT_THAT(Parse("security: {enable: true}").warnings, ElementsAre(HasSubstr("dfdaemon.yaml:1: security.enable")));
}

// Keys of a description by path.
std::map<std::string, config::KeyDescription> KeysOf(const config::Description& description) {
  std::map<std::string, config::KeyDescription> keys;
  for (const config::KeyDescription& key : description.keys) {
    EXPECT_TRUE(keys.emplace(key.path, key).second) << key.path << " is described twice";
  }
  return keys;
}

TEST(DaemonConfig, ADescriptionLoadsAgainAsTheSame) {
  for (const std::string_view text : {std::string_view(""), kSeedPeerExample, kEveryKeyOld, kEveryKeyNew,
                                      std::string_view("server: {adaptiveRateLimit: null}")}) {
    const std::string yaml = DescribeDaemonConfig(Parse(text).config).yaml;
    const LoadedConfig again = Parse(yaml);
    EXPECT_THAT(again.warnings, IsEmpty()) << yaml;
    EXPECT_EQ(DescribeDaemonConfig(again.config).yaml, yaml);
  }
}

TEST(DaemonConfig, ADescriptionHasTheValuesThatAreInEffect) {
  const config::Description description = DescribeDaemonConfig(Parse(kEveryKeyNew).config);
  for (const std::string_view line : {
           "\nnetwork:\n  enableIPv6: true\n",
           "    ip: \"::\"\n    port: 4000\n",
           "  bandwidthLimit: 50GB\n  backToSourceBandwidthLimit: 40GB\n",
           "    socketMode: \"0660\"\n",
           "    diskThreshold: 1TiB\n    diskHighThresholdPercent: 70\n",
           "    taskTTL: 30d\n",
           "  revalidate: always\n",
           "    basicAuth: null\n",
           "  rules: []\n",
       }) {
    EXPECT_THAT("\n" + description.yaml, HasSubstr(std::string(line)));
  }
  EXPECT_THAT(description.yaml, Not(HasSubstr("parentSelector")));
}

TEST(DaemonConfig, ADescriptionMasksSecrets) {
  const std::string yaml = DescribeDaemonConfig(Parse(R"(
manager: {addr: "http://admin:hunter2@m:65003"}
proxy: {server: {basicAuth: {username: u, password: hunter2}}}
backend: {requestHeader: {Authorization: Bearer hunter2}}
tracing: {headers: {x-token: [hunter2, hunter2]}}
)")
                                                    .config)
                               .yaml;
  EXPECT_THAT(yaml, Not(HasSubstr("hunter2")));
  EXPECT_THAT(yaml, HasSubstr("http://******@m:65003"));
  EXPECT_THAT(yaml, HasSubstr("Authorization:\n      - \"******\"\n"));
}

TEST(DaemonConfig, DescribesEveryKeyOfBothGenerations) {
  const auto keys = KeysOf(DescribeDaemonConfig(DaemonConfig()));
  EXPECT_EQ(keys.at("download.bandwidthLimit").older, std::vector<std::string>{"download.rateLimit"});
  EXPECT_EQ(keys.at("download.concurrentPieceCount").kind, "whole number, 1 to 1024");
  EXPECT_EQ(keys.at("dynconfig.refreshInterval").value, "1m");
  EXPECT_EQ(keys.at("proxy.server.basicAuth.username").kind, "text of 1 to 20 bytes");
  EXPECT_EQ(keys.at("proxy.rules[].regex").value, "\".*\"");
  EXPECT_FALSE(keys.at("security.enable").has_effect);
}

TEST(DaemonConfig, ReadsWhatASeedPeerSets) {
  const DaemonConfig config = Parse(kSeedPeerExample).config;
  EXPECT_EQ(config.host.idc, "dc1");
  EXPECT_EQ(config.host.location, "eu|de|fra");
  EXPECT_EQ(config.manager.addr, "http://manager.example:65003");
  EXPECT_TRUE(config.seed_peer.enable);
  EXPECT_EQ(config.storage.dir, "/data/dragonfly");
  EXPECT_TRUE(config.storage.keep);
  EXPECT_EQ(config.gc.interval, absl::Minutes(15));
  EXPECT_EQ(config.gc.dist_threshold, 500ull << 30);
  EXPECT_EQ(config.download.rate_limit, 5ull << 30);
  EXPECT_EQ(config.download.concurrent_piece_count, 16u);
  EXPECT_TRUE(config.proxy.prefetch);
  ASSERT_EQ(config.proxy.rules.size(), 1u);
  EXPECT_EQ(config.proxy.rules[0].regex, "blobs/sha256.*");
  EXPECT_FALSE(config.proxy.rules[0].filtered_query_params.has_value());
}

TEST(DaemonConfig, ReadsTheNamesOfBothGenerations) {
  const DaemonConfig old_names = Parse(kEveryKeyOld).config;
  EXPECT_EQ(old_names.upload.rate_limit, 10ull << 30);
  EXPECT_EQ(old_names.gc.high_percent, 80u);
  EXPECT_EQ(old_names.proxy.prefetch_rate_limit, 2ull << 30);
  EXPECT_THAT(*old_names.proxy.rules.at(0).filtered_query_params, ElementsAre("a", "b"));

  const DaemonConfig new_names = Parse(kEveryKeyNew).config;
  EXPECT_EQ(new_names.download.rate_limit, 50'000'000'000u);
  EXPECT_EQ(new_names.download.back_to_source_rate_limit, 40'000'000'000u);
  EXPECT_EQ(new_names.upload.rate_limit, 30'000'000'000u);
  EXPECT_EQ(new_names.gc.dist_threshold, 1ull << 40);
  EXPECT_EQ(new_names.gc.high_percent, 70u);
  EXPECT_EQ(new_names.gc.low_percent, 50u);
  EXPECT_EQ(new_names.proxy.prefetch_rate_limit, 10'000'000'000u);
  EXPECT_TRUE(new_names.network.enable_ipv6);
  EXPECT_EQ(new_names.backend.retries, 2u);
  EXPECT_THAT(new_names.backend.request_header, ElementsAre(testing::Pair("X-Team", "storage")));
}

TEST(DaemonConfig, TheNewNameWinsWhenBothAreGiven) {
  const LoadedConfig both = Parse("download: {bandwidthLimit: 2MiB, rateLimit: 1MiB}");
  EXPECT_EQ(both.config.download.rate_limit, 2ull << 20);
  EXPECT_THAT(both.warnings, ElementsAre(HasSubstr("download.rateLimit: has no effect beside")));
  EXPECT_EQ(Parse("upload: {rateLimit: 1MiB, bandwidthLimit: 2MiB}").config.upload.rate_limit, 2ull << 20);
}

TEST(DaemonConfig, ListensOnIpv6WhenItIsEnabledAndNoAddressGiven) {
  const DaemonConfig config = Parse("network: {enableIPv6: true}\nhealth: {server: {ip: 127.0.0.1}}").config;
  EXPECT_EQ(config.upload.ip, "::");
  EXPECT_EQ(config.storage.ip, "::");
  EXPECT_EQ(config.metrics.ip, "::");
  EXPECT_EQ(config.health.ip, "127.0.0.1");
}

TEST(DaemonConfig, WarnsAboutUnknownKeys) {
  const LoadedConfig loaded = Parse("download:\n  pieceTimout: 3s\nfoo: 1\n");
  ASSERT_EQ(loaded.warnings.size(), 2u);
  EXPECT_THAT(loaded.warnings, testing::Contains(HasSubstr("dfdaemon.yaml:2")));
  EXPECT_THAT(loaded.warnings, testing::Contains(HasSubstr("download.pieceTimout")));
  EXPECT_THAT(loaded.warnings, testing::Contains(HasSubstr("foo")));
}

TEST(DaemonConfig, ANumberWithoutAUnitIsSecondsAndAWarning) {
  const LoadedConfig loaded = Parse("download: {pieceTimeout: 5}");
  EXPECT_EQ(loaded.config.download.piece_timeout, absl::Seconds(5));
  EXPECT_THAT(loaded.warnings, ElementsAre(HasSubstr("download.pieceTimeout")));
}

TEST(DaemonConfig, ReadsTheTlsFilesOfEveryLink) {
  const DaemonConfig config = Parse(R"(
upload:
  server: {caCert: /ua, cert: /ub, key: /uc}
  client: {caCert: /ca, cert: /cb, key: /cc}
manager: {caCert: /ma, cert: /mb, key: /mc}
scheduler: {caCert: /sa, cert: /sb, key: /sc}
)")
                                  .config;
  EXPECT_EQ(config.upload.ca_cert, "/ua");
  EXPECT_EQ(config.upload.client_tls.cert, "/cb");
  EXPECT_EQ(config.manager.tls.key, "/mc");
  EXPECT_EQ(config.scheduler.tls.ca_cert, "/sa");
}

TEST(DaemonConfig, AdaptiveLimitIsOnByDefaultAndOffWhenNull) {
  EXPECT_TRUE(Parse("").config.server.adaptive_rate_limit.has_value());
  EXPECT_EQ(Parse("").config.server.adaptive_rate_limit->memory_threshold, 90u);
  const LoadedConfig off = Parse("server: {adaptiveRateLimit: null}");
  EXPECT_FALSE(off.config.server.adaptive_rate_limit.has_value());
  EXPECT_THAT(off.warnings, IsEmpty());
  const DaemonConfig set = Parse("server: {adaptiveRateLimit: {cpuThreshold: 80, shedCooldown: 1s}}").config;
  EXPECT_EQ(set.server.adaptive_rate_limit->cpu_threshold, 80u);
  EXPECT_EQ(set.server.adaptive_rate_limit->shed_cooldown, absl::Seconds(1));
  EXPECT_EQ(set.server.adaptive_rate_limit->bucket_count, 50u);
}

TEST(DaemonConfig, NullSectionsAndKeysMeanTheDefaults) {
  const LoadedConfig loaded = Parse("upload:\ndownload:\n  server:\n  bandwidthLimit: null\nhost: ~\n");
  EXPECT_THAT(loaded.warnings, IsEmpty());
  EXPECT_EQ(loaded.config.download.rate_limit, 50'000'000'000u);
}

TEST(DaemonConfig, TheSocketModeIsOctal) {
  EXPECT_EQ(Parse("").config.download.socket_mode, 0660u);
  for (const std::string_view mode : {"0666", "'0666'", "0o666", "666"}) {
    const std::string text = "download: {server: {socketMode: " + std::string(mode) + "}}";
    EXPECT_EQ(Parse(text).config.download.socket_mode, 0666u) << text;
  }
}

TEST(DaemonConfig, ReadsWhenACompleteTaskIsCheckedAgainstItsOrigin) {
  using Revalidate = DaemonConfig::Revalidate;
  EXPECT_EQ(Parse("").config.storage.revalidate, Revalidate::kAlways);
  EXPECT_EQ(Parse("storage: {revalidate: never}").config.storage.revalidate, Revalidate::kNever);
  const DaemonConfig config = Parse("storage: {revalidate: interval, revalidateInterval: 5m}").config;
  EXPECT_EQ(config.storage.revalidate, Revalidate::kInterval);
  EXPECT_EQ(config.storage.revalidate_interval, absl::Minutes(5));
}

TEST(DaemonConfig, HeadersMayHaveOneValueOrMany) {
  const DaemonConfig config = Parse("tracing: {protocol: grpc, endpoint: 'o:4317', headers: {a: b, c: [d, e]}}").config;
  EXPECT_THAT(config.tracing.headers,
              ElementsAre(testing::Pair("a", "b"), testing::Pair("c", "d"), testing::Pair("c", "e")));
  EXPECT_TRUE(config.tracing.enabled());
}

TEST(DaemonConfig, WarnsOfARateThatNoLargePieceCanKeep) {
  const LoadedConfig loaded = Parse("download: {rateLimit: 100KiB, pieceTimeout: 60s}");
  EXPECT_THAT(loaded.warnings, ElementsAre(HasSubstr("dfdaemon.yaml:1: download.rateLimit: at this rate")));
  EXPECT_THAT(Parse("download: {rateLimit: 0}").warnings, IsEmpty());
}

TEST(DaemonConfig, SaysThatTracingNeedsProtocolAndEndpoint) {
  const LoadedConfig loaded = Parse("tracing: {protocol: grpc}");
  EXPECT_FALSE(loaded.config.tracing.enabled());
  EXPECT_THAT(loaded.warnings, ElementsAre(HasSubstr("tracing.protocol: has no effect")));
}

TEST(DaemonConfig, RefusesWrongValuesNamingFileLineAndKey) {
  const struct {
    std::string_view text;
    std::vector<std::string> parts;  // of the message
  } cases[] = {
      {"download:\n  concurrentPieceCount: 0\n", {"dfdaemon.yaml:2", "download.concurrentPieceCount"}},
      {"scheduler:\n  maxScheduleCount: 0\n", {"dfdaemon.yaml:2", "scheduler.maxScheduleCount"}},
      {"scheduler:\n  announceInterval: 100ms\n", {"scheduler.announceInterval"}},
      {"seedPeer:\n  clusterID: 0\n", {"seedPeer.clusterID"}},
      {"seedPeer:\n  type: giant\n", {"seedPeer.type"}},
      {"gc: {policy: {distHighThresholdPercent: 100}}", {"gc.policy.distHighThresholdPercent"}},
      {"gc: {policy: {diskLowThresholdPercent: 0}}", {"gc.policy.diskLowThresholdPercent"}},
      {"gc:\n  policy:\n    distLowThresholdPercent: 85\n", {"gc.policy.distLowThresholdPercent", "80"}},
      {"gc: {interval: 1ms}", {"gc.interval"}},
      {"upload: {server: {ip: localhost}}", {"upload.server.ip", "localhost"}},
      {"host: {ip: 1.2.3}", {"host.ip"}},
      {"upload: {server: {caCert: /a, cert: /b}}", {"upload.server.key", "together"}},
      {"manager: {key: /k}", {"manager.c"}},
      {"manager: {addr: manager:65003}", {"manager.addr", "URL"}},
      {"storage: {server: {protocol: http}}", {"storage.server.protocol"}},
      {"storage: {dir: data}", {"storage.dir", "absolute"}},
      {"storage: {readBufferSize: 1}", {"storage.readBufferSize"}},
      {"download: {server: {socketPath: x.sock}}", {"download.server.socketPath", "absolute"}},
      {"download: {pieceTimeout: 5 apples}", {"download.pieceTimeout"}},
      {"download: {rateLimit: fast}", {"download.rateLimit"}},
      {"tracing: {protocol: udp}", {"tracing.protocol"}},
      {"proxy: {server: {basicAuth: {username: u}}}", {"proxy.server.basicAuth.password"}},
      {"scheduler: {addrs: [a]}", {"scheduler.addrs", "no port"}},
      {"scheduler: {addrs: ['a:0']}", {"scheduler.addrs", "bad port"}},
      {"metrics: {server: {port: 4000}}", {"metrics", "4000", "upload.server.port"}},
      {"download: {server: {socketMode: 0999}}", {"download.server.socketMode", "0999"}},
      {"download: {server: {socketMode: 0060}}", {"download.server.socketMode", "owner"}},
      {"server: {adaptiveRateLimit: {cpuThreshold: 0}}", {"server.adaptiveRateLimit.cpuThreshold"}},
      {"server: {adaptiveRateLimit: {memoryThreshold: 101}}", {"server.adaptiveRateLimit.memoryThreshold"}},
      {"storage: {revalidate: sometimes}", {"storage.revalidate"}},
      {"proxy: {rules: [{regex: 'a(?=b)'}]}", {"proxy.rules[0].regex", "a(?=b)"}},
      {"proxy: {rules: [{regex: ok}, {regex: '('}]}", {"proxy.rules[1].regex"}},
      {"proxy: {registryMirror: {addr: docker.io}}", {"proxy.registryMirror.addr", "URL"}},
      {"tracing: {endpoint: 'http://o:4317'}", {"tracing.endpoint"}},
      {"scheduler: {caCert: /a}", {"scheduler.cert", "together"}},
      {"upload: {client: {cert: /a, key: /b}}", {"upload.client.caCert", "together"}},
      {"proxy: {server: {basicAuth: {username: u, password: aaaaaaaaaaaaaaaaaaaaa}}}",
       {"proxy.server.basicAuth.password", "20"}},
      {"- a\n- b\n", {"dfdaemon.yaml"}},
      {"a: [", {"dfdaemon.yaml"}},
  };
  for (const auto& c : cases) {
    const std::string error = ErrorOf(c.text);
    for (const std::string& part : c.parts) EXPECT_THAT(error, HasSubstr(part)) << c.text;
  }
}

TEST(DaemonConfig, TellsAllWrongValuesAtOnce) {
  const std::string error = ErrorOf("download: {concurrentPieceCount: 0}\nstorage: {dir: x}\n");
  EXPECT_THAT(error, HasSubstr("download.concurrentPieceCount"));
  EXPECT_THAT(error, HasSubstr("storage.dir"));
}

TEST(DaemonConfig, SaysThatTheFileIsMissing) {
  const auto loaded = LoadDaemonConfig("/nonexistent/dfdaemon.yaml");
  EXPECT_TRUE(absl::IsNotFound(loaded.status())) << loaded.status();
  EXPECT_THAT(MessageOf(loaded.status()), HasSubstr("/nonexistent/dfdaemon.yaml"));
}

TEST(DaemonConfig, SameIpAndPortOnDifferentAddressesIsNoConflict) {
  Parse("upload: {server: {ip: 10.0.0.1, port: 4000}}\nmetrics: {server: {ip: 127.0.0.1, port: 4000}}");
  Parse("upload: {server: {port: 0}}\nmetrics: {server: {port: 0}}");
}

}  // namespace
}  // namespace dragonfly::daemon
