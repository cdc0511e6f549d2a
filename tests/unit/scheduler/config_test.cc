// SPDX-License-Identifier: Apache-2.0
#include "scheduler/config.h"

#include "gmock/gmock.h"
#include "gtest/gtest.h"

namespace dragonfly::scheduler {
namespace {

using ::testing::ElementsAre;
using ::testing::HasSubstr;
using ::testing::IsEmpty;

LoadedSchedulerConfig Parse(std::string_view text) {
  auto loaded = ParseSchedulerConfig(text, "scheduler.yaml");
  EXPECT_TRUE(loaded.ok()) << loaded.status();
  return loaded.ok() ? *std::move(loaded) : LoadedSchedulerConfig();
}

TEST(SchedulerConfig, HasTheDefaultsOfTheReference) {
  const SchedulerConfig config = Parse("").config;
  EXPECT_EQ(config.server.port, 8002);
  EXPECT_EQ(config.scheduling.algorithm, "default");
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
  refreshInterval: 1m
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
database:
  redis:
    addrs: ["redis:6379"]
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
}

TEST(SchedulerConfig, WarnsOfUnknownKeysAndOfWhatHasNoEffect) {
  EXPECT_THAT(Parse("scheduler: {retryLimt: 3}").warnings, ElementsAre(HasSubstr("scheduler.retryLimt")));
  EXPECT_THAT(Parse("manager: {addr: 'manager:65003'}").warnings, ElementsAre(HasSubstr("manager.addr")));
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
           {"server: {requestRateLimit: 0}", "server.requestRateLimit"},
           {"scheduler: {algorithm: plugin}", "scheduler.algorithm"},
           {"scheduler: {backToSourceCount: 0}", "scheduler.backToSourceCount"},
           {"scheduler: {retryBackToSourceLimit: 0}", "scheduler.retryBackToSourceLimit"},
           {"scheduler: {retryLimit: 0}", "scheduler.retryLimit"},
           {"scheduler: {retryInterval: 0}", "scheduler.retryInterval"},
           {"scheduler: {retryInterval: soon}", "scheduler.retryInterval"},
           {"scheduler: {gc: {peerTTL: 0s}}", "scheduler.gc.peerTTL"},
           {"metrics: {enable: true, addr: ''}", "metrics.addr"},
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
