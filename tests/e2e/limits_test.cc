// SPDX-License-Identifier: Apache-2.0
// Bandwidth limits of real daemons: kept within five percent over ten seconds, and small tasks are not held up by large
// ones. The figures are printed, for the tables in docs/.
#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <algorithm>
#include <chrono>
#include <cstdio>
#include <fstream>
#include <string>
#include <vector>

#include "base/text.h"
#include "tests/e2e/harness/cluster.h"
#include "tests/e2e/harness/origin.h"

namespace dragonfly::e2e {
namespace {

constexpr uint64_t kLimit = 20'000'000;  // bytes a second
constexpr int kLargeFiles = 4;
constexpr uint64_t kLargeBytes = 55'000'000;  // all together last for eleven seconds
constexpr int kSmallFiles = 16;
constexpr uint64_t kSmallBytes = 64 << 10;
constexpr std::chrono::seconds kPatience{120};

using Seconds = std::chrono::duration<double>;

struct Direction {
  const char* name;
  const char* upload;    // lines of the section, at the peer that has the files
  const char* download;  // at the peer that wants them
  bool from_origin;      // nobody has them
};

class LimitsTest : public ::testing::TestWithParam<Direction> {
 protected:
  void SetUp() override {
    for (int i = 0; i < kLargeFiles; ++i) {
      WriteRandomFile(origin_.root() + "/" + Large(i), kLargeBytes, 100 + static_cast<uint64_t>(i));
    }
    for (int i = 0; i < 2 * kSmallFiles; ++i) {
      WriteRandomFile(origin_.root() + "/" + Small(i), kSmallBytes, 1000 + static_cast<uint64_t>(i));
    }
  }
  static std::string Large(int i) { return StrCat("large-", i); }
  static std::string Small(int i) { return StrCat("small-", i); }
  std::string Output(const std::string& name) const { return dir_.path() + "/" + name; }

  // The time that each of `count` small files takes, one after another.
  std::vector<double> FetchSmall(Peer& peer, int first, int count) {
    std::vector<double> seconds;
    for (int i = first; i < first + count; ++i) {
      const auto begin = std::chrono::steady_clock::now();
      Process run = peer.Dfget(origin_.Url(Small(i)), Output(Small(i)));
      EXPECT_EQ(run.Wait(kPatience), 0) << run.Log();
      seconds.push_back(Seconds(std::chrono::steady_clock::now() - begin).count());
      EXPECT_TRUE(SameContent(Output(Small(i)), origin_.root() + "/" + Small(i)));
    }
    std::sort(seconds.begin(), seconds.end());
    return seconds;
  }

  TempDir dir_;
  Origin origin_{dir_.path()};
};

TEST_P(LimitsTest, KeepsToItAndLetsSmallTasksThrough) {
  const Direction& direction = GetParam();
  const SchedulerProcess scheduler(dir_.path() + "/scheduler");
  Peer parent(dir_.path() + "/parent", scheduler.port(), {.name = "parent", .upload = direction.upload});
  Peer child(dir_.path() + "/child", scheduler.port(), {.name = "child", .download = direction.download});
  if (!direction.from_origin) {
    std::vector<std::string> names;
    for (int i = 0; i < kLargeFiles; ++i) names.push_back(Large(i));
    for (int i = 0; i < 2 * kSmallFiles; ++i) names.push_back(Small(i));
    for (const std::string& name : names) {
      Process run = parent.Dfget(origin_.Url(name), Output("parent-" + name));
      ASSERT_EQ(run.Wait(kPatience), 0) << run.Log();
    }
  }
  origin_.ClearLog();

  const std::vector<double> alone = FetchSmall(child, 0, kSmallFiles);
  const auto begin = std::chrono::steady_clock::now();
  std::vector<Process> runs;
  for (int i = 0; i < kLargeFiles; ++i) runs.push_back(child.Dfget(origin_.Url(Large(i)), Output(Large(i))));
  ASSERT_TRUE(
      Await([&] { return child.Metric("dragonfly_client_concurrent_download_task_total") >= kLargeFiles; }, kPatience));
  const std::vector<double> beside = FetchSmall(child, kSmallFiles, kSmallFiles);
  const bool beside_all_the_time = runs.front().Running();
  for (Process& run : runs) ASSERT_EQ(run.Wait(kPatience), 0) << run.Log();
  const double elapsed = Seconds(std::chrono::steady_clock::now() - begin).count();
  for (int i = 0; i < kLargeFiles; ++i) {
    EXPECT_TRUE(SameContent(Output(Large(i)), origin_.root() + "/" + Large(i)));
  }
  if (!direction.from_origin) {
    EXPECT_EQ(origin_.BytesSent(Large(0)), 0u);
  }

  const double bytes = static_cast<double>(kLargeFiles * kLargeBytes + kSmallFiles * kSmallBytes);
  const double ratio = bytes / elapsed / static_cast<double>(kLimit);
  const auto milliseconds = [](const std::vector<double>& sorted) { return sorted[sorted.size() / 2] * 1000; };
  std::printf("%s: %.3f of the limit over %.1f s; a small task takes %.0f ms beside (at most %.0f), %.0f ms alone\n",
              direction.name, ratio, elapsed, milliseconds(beside), beside.back() * 1000, milliseconds(alone));
  EXPECT_GT(elapsed, 10);
  EXPECT_NEAR(ratio, 1, 0.05);
  EXPECT_TRUE(beside_all_the_time);
  // Fifty milliseconds from the start of dfget to its end, unless the machine is slow even without the large ones.
  EXPECT_LT(milliseconds(beside), std::max(50.0, 3 * milliseconds(alone)));
}

INSTANTIATE_TEST_SUITE_P(Directions, LimitsTest,
                         ::testing::Values(Direction{"download", "", "  bandwidthLimit: 20000000\n", false},
                                           Direction{"upload", "  bandwidthLimit: 20000000\n", "", false},
                                           Direction{"origin", "", "  backToSourceBandwidthLimit: 20000000\n", true}),
                         [](const auto& info) { return std::string(info.param.name); });

}  // namespace
}  // namespace dragonfly::e2e
