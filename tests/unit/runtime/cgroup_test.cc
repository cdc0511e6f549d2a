// SPDX-License-Identifier: Apache-2.0
#include "runtime/cgroup.h"

#include <gtest/gtest.h>

#include <filesystem>
#include <fstream>
#include <string>

namespace dragonfly::runtime {
namespace {

// A /proc and a /sys of the test's making.
class CgroupTest : public testing::Test {
 protected:
  CgroupTest() {
    std::string pattern = (std::filesystem::temp_directory_path() / "cgroup_test_XXXXXX").string();
    root_ = ::mkdtemp(pattern.data());
  }
  ~CgroupTest() override { std::filesystem::remove_all(root_); }

  void Write(const std::string& path, const std::string& text) {
    std::filesystem::create_directories(std::filesystem::path(root_ + path).parent_path());
    std::ofstream(root_ + path) << text;
  }

  std::string root_;
};

// Files as Linux 6.1 writes them.
TEST_F(CgroupTest, ReadsVersion2) {
  Write("/proc/self/cgroup", "0::/system.slice/dfdaemon.service\n");
  const std::string own = "/sys/fs/cgroup/system.slice/dfdaemon.service";
  Write(own + "/cpu.max", "150000 100000\n");
  Write(own + "/cpu.stat", "usage_usec 2500000\nuser_usec 2000000\nsystem_usec 500000\n");
  Write(own + "/memory.max", "8589934592\n");
  Write(own + "/memory.current", "1000000\n");
  Write(own + "/memory.stat", "anon 1000\nfile 500000\ninactive_file 300000\nactive_file 200000\n");
  Write(own + "/io.stat", "8:0 rbytes=1000 wbytes=2000 rios=1 wios=2 dbytes=0 dios=0\n8:16 rbytes=10 wbytes=20\n");

  const Cgroup group(root_);
  EXPECT_FALSE(group.in_container());
  const auto quota = group.ReadCpuQuota();
  ASSERT_TRUE(quota.has_value());
  EXPECT_EQ(quota->quota, 150000u);
  EXPECT_EQ(quota->period, 100000u);
  EXPECT_DOUBLE_EQ(quota->cores(), 1.5);
  EXPECT_DOUBLE_EQ(group.ReadCpuSeconds().value_or(0), 2.5);
  EXPECT_EQ(group.ReadMemoryLimit(), 8589934592u);
  EXPECT_EQ(group.ReadMemoryUsage(), 700000u);
  const auto io = group.ReadIo();
  ASSERT_TRUE(io.has_value());
  EXPECT_EQ(io->read, 1010u);
  EXPECT_EQ(io->written, 2020u);
}

TEST_F(CgroupTest, ReadsVersion1) {
  Write("/proc/self/cgroup",
        "7:blkio:/docker/abc\n4:memory:/docker/abc\n2:cpu,cpuacct:/docker/abc\n1:name=systemd:/docker/abc\n0::/\n");
  Write("/sys/fs/cgroup/cpu/docker/abc/cpu.cfs_quota_us", "50000\n");
  Write("/sys/fs/cgroup/cpu/docker/abc/cpu.cfs_period_us", "100000\n");
  Write("/sys/fs/cgroup/cpuacct/docker/abc/cpuacct.usage", "1500000000\n");
  Write("/sys/fs/cgroup/memory/docker/abc/memory.limit_in_bytes", "536870912\n");
  Write("/sys/fs/cgroup/memory/docker/abc/memory.usage_in_bytes", "400\n");
  Write("/sys/fs/cgroup/memory/docker/abc/memory.stat", "cache 300\ninactive_file 1\ntotal_inactive_file 100\n");
  Write("/sys/fs/cgroup/blkio/docker/abc/blkio.throttle.io_service_bytes", "8:0 Read 7\n8:0 Write 9\nTotal 16\n");

  const Cgroup group(root_);
  EXPECT_DOUBLE_EQ(group.ReadCpuQuota().value_or(CpuQuota{.quota = 9, .period = 1}).cores(), 0.5);
  EXPECT_DOUBLE_EQ(group.ReadCpuSeconds().value_or(0), 1.5);
  EXPECT_EQ(group.ReadMemoryLimit(), 536870912u);
  EXPECT_EQ(group.ReadMemoryUsage(), 300u);
  const auto io = group.ReadIo();
  ASSERT_TRUE(io.has_value());
  EXPECT_EQ(io->read, 7u);
  EXPECT_EQ(io->written, 9u);
}

TEST_F(CgroupTest, TheTightestLimitOfTheAncestorsCounts) {
  Write("/proc/self/cgroup", "0::/pod/container\n");
  Write("/sys/fs/cgroup/pod/container/cpu.max", "max 100000\n");
  Write("/sys/fs/cgroup/pod/cpu.max", "200000 100000\n");
  Write("/sys/fs/cgroup/pod/container/memory.max", "4096\n");
  Write("/sys/fs/cgroup/pod/memory.max", "8192\n");
  const Cgroup group(root_);
  EXPECT_DOUBLE_EQ(group.ReadCpuQuota().value_or(CpuQuota{.quota = 9, .period = 1}).cores(), 2);
  EXPECT_EQ(group.ReadMemoryLimit(), 4096u);
}

TEST_F(CgroupTest, NoLimitIsNone) {
  Write("/proc/self/cgroup", "4:memory:/\n1:cpu:/\n");
  Write("/sys/fs/cgroup/cpu/cpu.cfs_quota_us", "-1\n");
  Write("/sys/fs/cgroup/cpu/cpu.cfs_period_us", "100000\n");
  Write("/sys/fs/cgroup/memory/memory.limit_in_bytes", "9223372036854771712\n");
  const Cgroup group(root_);
  EXPECT_FALSE(group.ReadCpuQuota().has_value());
  EXPECT_FALSE(group.ReadMemoryLimit().has_value());
}

// Version 1 in a container without a namespace of its own: the path is the host's, the mount is the container's group.
TEST_F(CgroupTest, TakesTheMountWhenThePathCannotBeSeen) {
  Write("/proc/self/cgroup", "4:memory:/docker/abc\n");
  Write("/sys/fs/cgroup/memory/memory.limit_in_bytes", "4096\n");
  Write("/sys/fs/cgroup/memory/memory.usage_in_bytes", "100\n");
  Write("/.dockerenv", "");
  const Cgroup group(root_);
  EXPECT_TRUE(group.in_container());
  EXPECT_EQ(group.ReadMemoryLimit(), 4096u);
  EXPECT_EQ(group.ReadMemoryUsage(), 100u);
}

TEST_F(CgroupTest, NothingIsKnownWithoutGroups) {
  const Cgroup group(root_);
  EXPECT_FALSE(group.ReadCpuQuota().has_value());
  EXPECT_FALSE(group.ReadCpuSeconds().has_value());
  EXPECT_FALSE(group.ReadMemoryLimit().has_value());
  EXPECT_FALSE(group.ReadMemoryUsage().has_value());
  EXPECT_FALSE(group.ReadIo().has_value());
}

// The machine that runs the test: whatever it has must be read without harm, and a process uses memory.
TEST(Cgroup, ReadsTheRealOne) {
  const Cgroup group;
  if (const auto usage = group.ReadMemoryUsage()) {
    EXPECT_GT(*usage, 0u);
  }
  if (const auto quota = group.ReadCpuQuota()) {
    EXPECT_GT(quota->cores(), 0);
  }
}

}  // namespace
}  // namespace dragonfly::runtime
