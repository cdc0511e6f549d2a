// SPDX-License-Identifier: Apache-2.0
#include "daemon/host_info.h"

#include <gtest/gtest.h>

#include "common/v2/common.pb.h"
#include "tests/support/temp_dir.h"

namespace dragonfly::daemon {
namespace {

HostInfoOptions Options() {
  HostInfoOptions options;
  options.identity.host_id = "127.0.0.1-h";
  options.identity.hostname = "h";
  options.identity.ip = "127.0.0.1";
  options.identity.upload_port = 4000;
  options.storage_dir = "/";
  options.download_rate_limit = 1000;
  options.upload_rate_limit = 2000;
  return options;
}

void ExpectPercent(double value) {
  EXPECT_GE(value, 0);
  EXPECT_LE(value, 100);
}

TEST(HostInfo, TellsPlausibleFactsOfThisMachine) {
  HostInfo info(Options());
  common::v2::Host host;
  info.Fill(host);
  EXPECT_EQ(host.os(), "linux");
  EXPECT_EQ(host.platform(), "linux");
  EXPECT_EQ(host.platform_family(), "unix");
  EXPECT_FALSE(host.kernel_version().empty());
  EXPECT_FALSE(host.build().git_version().empty());
  EXPECT_EQ(host.type(), 0u);
  EXPECT_EQ(host.name(), "h");

  EXPECT_GE(host.cpu().logical_count(), 1u);
  EXPECT_GE(host.cpu().physical_count(), 1u);
  EXPECT_LE(host.cpu().physical_count(), host.cpu().logical_count());
  ExpectPercent(host.cpu().percent());
  EXPECT_GE(host.cpu().process_percent(), 0);

  EXPECT_GT(host.memory().total(), 0u);
  EXPECT_GT(host.memory().available(), 0u);
  EXPECT_LE(host.memory().available(), host.memory().total());
  EXPECT_EQ(host.memory().used() + host.memory().available(), host.memory().total());
  ExpectPercent(host.memory().used_percent());
  EXPECT_GT(host.memory().used_percent(), 0);
  ExpectPercent(host.memory().process_used_percent());
  EXPECT_GT(host.memory().process_used_percent(), 0);

  EXPECT_GT(host.disk().total(), 0u);
  EXPECT_LE(host.disk().free(), host.disk().total());
  ExpectPercent(host.disk().used_percent());
  ExpectPercent(host.disk().inodes_used_percent());
}

TEST(HostInfo, TellsTheNetworkOfBothGenerations) {
  HostInfo info(Options());
  common::v2::Host host;
  info.FillNetwork(host);
  EXPECT_EQ(host.id(), "127.0.0.1-h");
  EXPECT_FALSE(host.has_cpu());
  EXPECT_EQ(host.network().download_rate_limit(), 1000u);
  EXPECT_EQ(host.network().upload_rate_limit(), 2000u);
  // The loopback interface has no speed of its own: the limits are what is left, in bits.
  EXPECT_EQ(host.network().max_rx_bandwidth(), 8000u);
  EXPECT_EQ(host.network().max_tx_bandwidth(), 16000u);
  EXPECT_FALSE(host.network().has_rx_bandwidth());
}

TEST(HostInfo, AnUnlimitedHostStillHasABandwidth) {
  HostInfoOptions options = Options();
  options.download_rate_limit = options.upload_rate_limit = 0;
  HostInfo info(options);
  common::v2::Host host;
  info.FillNetwork(host);
  EXPECT_GT(host.network().max_tx_bandwidth(), 0u);
}

TEST(HostInfo, AnnouncesTheKindOfSeed) {
  const std::pair<const char*, uint32_t> kinds[] = {{"normal", 0}, {"super", 1}, {"strong", 2}, {"weak", 3}};
  for (const auto& [name, type] : kinds) {
    HostInfoOptions options = Options();
    options.identity.seed = true;
    options.seed_type = name;
    common::v2::Host host;
    HostInfo(options).Fill(host);
    EXPECT_EQ(host.type(), type) << name;
  }
}

TEST(HostInfo, AMissingDirectoryLeavesTheDiskEmpty) {
  HostInfoOptions options = Options();
  options.storage_dir = "/nonexistent";
  common::v2::Host host;
  HostInfo(options).Fill(host);
  EXPECT_EQ(host.disk().total(), 0u);
}

TEST(HostInfo, TellsTheLimitsOfItsControlGroup) {
  const dragonfly::testing::TempDir root;
  root.Write("proc/self/cgroup", "0::/pod\n");
  root.Write("sys/fs/cgroup/pod/cpu.max", "150000 100000\n");
  root.Write("sys/fs/cgroup/pod/cpu.stat", "usage_usec 1000000\n");
  root.Write("sys/fs/cgroup/pod/memory.max", "4000\n");
  root.Write("sys/fs/cgroup/pod/memory.current", "1500\n");
  root.Write("sys/fs/cgroup/pod/memory.stat", "inactive_file 500\n");
  HostInfoOptions options = Options();
  options.cgroup_root = root.path().string();
  HostInfo info(options);
  // So much that any time between the two calls is used up.
  root.Write("sys/fs/cgroup/pod/cpu.stat", "usage_usec 900000000000\n");
  common::v2::Host host;
  info.Fill(host);
  EXPECT_EQ(host.cpu().cgroup().quota(), 150000);
  EXPECT_EQ(host.cpu().cgroup().period(), 100000u);
  EXPECT_DOUBLE_EQ(host.cpu().cgroup().used_percent(), 100);
  EXPECT_EQ(host.memory().cgroup().limit(), 4000);
  EXPECT_EQ(host.memory().cgroup().usage(), 1000u);
  EXPECT_DOUBLE_EQ(host.memory().cgroup().used_percent(), 25);
  EXPECT_GT(host.memory().total(), 4000u) << "the machine's";
}

TEST(HostInfo, WithoutLimitsThereIsNoControlGroupToTellOf) {
  const dragonfly::testing::TempDir root;
  HostInfoOptions options = Options();
  options.cgroup_root = root.path().string();
  common::v2::Host host;
  HostInfo(options).Fill(host);
  EXPECT_FALSE(host.cpu().has_cgroup());
  EXPECT_FALSE(host.memory().has_cgroup());
  EXPECT_FALSE(host.disk().has_cgroup());
}

TEST(HostInfo, InAContainerWithoutLimitsTheyAreNegative) {
  const dragonfly::testing::TempDir root;
  root.Write(".dockerenv", "");
  HostInfoOptions options = Options();
  options.cgroup_root = root.path().string();
  common::v2::Host host;
  HostInfo(options).Fill(host);
  EXPECT_EQ(host.cpu().cgroup().quota(), -1);
  EXPECT_EQ(host.memory().cgroup().limit(), -1);
}

}  // namespace
}  // namespace dragonfly::daemon
