// SPDX-License-Identifier: Apache-2.0
#include "runtime/process_usage.h"

#include <gtest/gtest.h>
#include <unistd.h>

#include <string>

#include "tests/support/temp_dir.h"

namespace dragonfly::runtime {
namespace {

using std::chrono::seconds;

TEST(ProcessUsage, MeasuresTheGroupAgainstItsLimit) {
  dragonfly::testing::TempDir dir;
  dir.Write("proc/self/cgroup", "0::/box\n");
  dir.Write("sys/fs/cgroup/box/memory.max", "1000\n");
  dir.Write("sys/fs/cgroup/box/memory.current", "950\n");
  dir.Write("sys/fs/cgroup/box/memory.stat", "active_file 30\n");
  ProcessUsage usage(dir.path().string());
  EXPECT_DOUBLE_EQ(usage.Sample(Clock::now()).memory_percent, 92);
}

TEST(ProcessUsage, MeasuresTheProcessAgainstTheMachineWithoutALimit) {
  dragonfly::testing::TempDir dir;
  dir.Write("proc/self/statm", "5000 100 3 4 5 6 7\n");
  dir.Write("proc/meminfo",
            "MemTotal:  " + std::to_string(400 * sysconf(_SC_PAGESIZE) / 1024) + " kB\nMemFree: 1 kB\n");
  ProcessUsage usage(dir.path().string());
  EXPECT_DOUBLE_EQ(usage.Sample(Clock::now()).memory_percent, 25);
}

TEST(ProcessUsage, NothingIsKnownWithoutProc) {
  ProcessUsage usage("/nonexistent");
  EXPECT_EQ(usage.Sample(Clock::now()).memory_percent, 0);
}

TEST(ProcessUsage, CountsCpuTimeAgainstTheQuota) {
  dragonfly::testing::TempDir dir;
  dir.Write("proc/self/cgroup", "0::/\n");
  dir.Write("sys/fs/cgroup/cpu.max", "50000 100000\n");
  ProcessUsage usage(dir.path().string());
  const TimePoint start = Clock::now();
  EXPECT_EQ(usage.Sample(start).cpu_percent, 0);
  timespec begin{};
  clock_gettime(CLOCK_PROCESS_CPUTIME_ID, &begin);
  double burnt = 0;
  while (burnt < 0.05) {
    timespec now{};
    clock_gettime(CLOCK_PROCESS_CPUTIME_ID, &now);
    burnt = static_cast<double>(now.tv_sec - begin.tv_sec) + static_cast<double>(now.tv_nsec - begin.tv_nsec) * 1e-9;
  }
  // As if a second had passed: 0.05 s of the 0.5 s that half a core gives.
  const double percent = usage.Sample(start + seconds(1)).cpu_percent;
  EXPECT_GE(percent, 10);
  EXPECT_LT(percent, 40);
}

TEST(ProcessUsage, ThisProcessUsesSomething) {
  const LoadSample sample = ProcessUsage().Sample(Clock::now());
  EXPECT_GT(sample.memory_percent, 0);
  EXPECT_LT(sample.memory_percent, 100);
}

}  // namespace
}  // namespace dragonfly::runtime
