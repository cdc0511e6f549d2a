// SPDX-License-Identifier: Apache-2.0
// What a killed peer has finished is not lost, and nothing else is kept.
#include <gtest/gtest.h>

#include <cstdlib>
#include <filesystem>
#include <memory>
#include <random>

#include "tests/e2e/harness/cluster.h"
#include "tests/e2e/harness/origin.h"

namespace dragonfly::e2e {
namespace {

constexpr uint64_t kMiB = 1 << 20;

// Rounds of the kill test; DF_KILL_ROUNDS sets another number.
int KillRounds() {
  const char* text = std::getenv("DF_KILL_ROUNDS");
  return text != nullptr ? std::atoi(text) : 200;
}

TEST(Recovery, CompletesAfterKillNineWithoutFetchingFinishedPiecesAgain) {
  TempDir dir;
  std::filesystem::create_directories(dir.path() + "/origin");
  // One peer alone, reading from the origin at a pace that leaves time to be killed in the middle.
  Origin origin(dir.path() + "/origin", /*rate=*/24 * kMiB);
  SchedulerProcess scheduler(dir.path() + "/scheduler");
  // Two pieces at a time, so that they finish one after another.
  Peer peer(dir.path() + "/peer", scheduler.port(), {.name = "peer", .concurrent_pieces = 2});
  const uint64_t size = 24 * kMiB + 17;
  std::mt19937 random(std::random_device{}());
  int killed_in_the_middle = 0;
  for (int round = 0; round < KillRounds(); ++round) {
    SCOPED_TRACE(round);
    const std::string name = "kill-" + std::to_string(round);
    const std::string output = dir.path() + "/" + name;
    WriteRandomFile(origin.root() + "/" + name, size, static_cast<uint64_t>(round));
    // The daemon runs since the round before, and has counted that round's pieces.
    const double counted_before = peer.Metric("dragonfly_client_download_traffic", "BACK_TO_SOURCE");
    double finished = 0;
    {
      Process run = peer.Dfget(origin.Url(name), output);
      // Anywhere between the first byte and the end.
      const auto after = std::chrono::microseconds(std::uniform_int_distribution<int>(0, 600'000)(random));
      run.Wait(std::chrono::duration_cast<std::chrono::milliseconds>(after));
      // The daemon counts a piece after it has recorded it: what it tells now must be there after the kill.
      finished = peer.Metric("dragonfly_client_download_traffic", "BACK_TO_SOURCE") - counted_before;
      peer.process().Kill();
      run.Wait(std::chrono::seconds(10));
    }
    std::filesystem::remove(output);
    peer.Restart();
    origin.ClearLog();

    Process run = peer.Dfget(origin.Url(name), output);
    ASSERT_EQ(run.Wait(std::chrono::seconds(60)), 0) << run.Log();
    ASSERT_TRUE(SameContent(origin.root() + "/" + name, output));
    // What was read again, and what came from the store, are together the file and nothing twice.
    const uint64_t again = origin.BytesSent(name);
    const auto kept = static_cast<uint64_t>(peer.Metric("dragonfly_client_download_traffic", "LOCAL_PEER"));
    EXPECT_EQ(again + kept, size);
    // Nothing that was finished is read again.
    EXPECT_GE(static_cast<double>(kept), finished);
    if (finished > 0 && again > 0) ++killed_in_the_middle;
    std::filesystem::remove(output);
    std::filesystem::remove(origin.root() + "/" + name);
  }
  EXPECT_GT(killed_in_the_middle, KillRounds() / 10)
      << "too few rounds were killed with some pieces finished and some not";
  RecordProperty("killed_in_the_middle", killed_in_the_middle);
}

TEST(Recovery, ServesWhatIsCompleteAfterARestart) {
  TempDir dir;
  std::filesystem::create_directories(dir.path() + "/origin");
  Origin origin(dir.path() + "/origin");
  Cluster cluster(1, /*with_seed=*/false);
  WriteRandomFile(origin.root() + "/kept", 10 * kMiB);
  Process first = cluster.peer(0).Dfget(origin.Url("kept"), cluster.Output("first"));
  ASSERT_EQ(first.Wait(std::chrono::seconds(30)), 0) << first.Log();
  cluster.peer(0).Restart();
  origin.ClearLog();
  Process second = cluster.peer(0).Dfget(origin.Url("kept"), cluster.Output("second"));
  ASSERT_EQ(second.Wait(std::chrono::seconds(30)), 0) << second.Log();
  EXPECT_TRUE(SameContent(origin.root() + "/kept", cluster.Output("second")));
  EXPECT_EQ(origin.BytesSent("kept"), 0u);
}

}  // namespace
}  // namespace dragonfly::e2e
