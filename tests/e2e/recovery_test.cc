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
  Origin origin(dir.path() + "/origin", /*rate=*/64 * kMiB);
  Cluster cluster(1, /*with_seed=*/false, "backend:\n  retries: 1\n");
  Peer& peer = cluster.peer(0);
  const uint64_t size = 24 * kMiB + 17;
  std::mt19937 random(std::random_device{}());
  int killed_in_the_middle = 0;
  for (int round = 0; round < KillRounds(); ++round) {
    SCOPED_TRACE(round);
    const std::string name = "kill-" + std::to_string(round);
    const std::string output = cluster.Output(name);
    WriteRandomFile(origin.root() + "/" + name, size, static_cast<uint64_t>(round));
    {
      Process run = peer.Dfget(origin.Url(name), output);
      // Anywhere between the first byte and the end.
      const auto after = std::chrono::microseconds(std::uniform_int_distribution<int>(0, 450'000)(random));
      run.Wait(std::chrono::duration_cast<std::chrono::milliseconds>(after));
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
    if (kept > 0 && again > 0) ++killed_in_the_middle;
    std::filesystem::remove(output);
    std::filesystem::remove(origin.root() + "/" + name);
  }
  EXPECT_GT(killed_in_the_middle, 0) << "no round was killed in the middle: the test proves nothing";
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
