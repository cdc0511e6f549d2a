// SPDX-License-Identifier: Apache-2.0
#include "scheduler/evaluator.h"

#include "tests/unit/scheduler/world.h"

namespace dragonfly::scheduler {
namespace {

using namespace std::chrono_literals;
using testing::World;

constexpr double kNear = 1e-9;

TEST(Score, Location) {
  struct Row {
    const char* a;
    const char* b;
    double score;
  };
  for (const Row& row : std::vector<Row>{
           {"", "", 0},
           {"eu", "", 0},
           {"eu|de|fra", "EU|DE|FRA", 1},
           {"eu|de|fra", "eu|de|ber", 0.4},
           {"eu|de", "eu|de|ber", 0.4},
           {"eu", "us", 0},
           {"a|b|c|d|e|f", "a|b|c|d|e|g", 1},
           {"a|b|c|d|e", "x|b|c|d|e", 0},
       }) {
    EXPECT_NEAR(score::Location(row.a, row.b), row.score, kNear) << row.a << " " << row.b;
  }
}

TEST(Score, Idc) {
  EXPECT_EQ(score::Idc("", ""), 0);
  EXPECT_EQ(score::Idc("fra1", "FRA1"), 1);
  EXPECT_EQ(score::Idc("fra1", "fra2"), 0);
}

TEST(Score, PieceIsAShareOrADifferenceWhileTheCountIsUnknown) {
  World world;
  World::Peer parent("parent"), child("child");
  Registration unknown = World::Download(std::nullopt);
  unknown.need_back_to_source = true;
  ASSERT_TRUE(world.Register(parent, unknown).ok());
  world.Begin(parent);
  ASSERT_TRUE(world.Register(child, World::Download(std::nullopt)).ok());
  world.PieceFromSource(parent, 0);
  EXPECT_EQ(score::Piece(world.Get(parent), world.Get(child)), 1);
  EXPECT_EQ(score::Piece(world.Get(child), world.Get(parent)), -1);
  world.Finish(parent, Origin::kSource);
  EXPECT_EQ(score::Piece(world.Get(parent), world.Get(child)), 1)
      << "complete, though it has reported one piece of ten";
  EXPECT_EQ(score::Piece(world.Get(child), world.Get(parent)), 0);
}

TEST(Score, FreeUpload) {
  World world;
  const World::Peer parent = world.Complete("parent");
  const Peer& peer = world.Get(parent);
  EXPECT_EQ(score::FreeUpload(peer), 1);
  for (int i = 0; i < 50; ++i) peer.host().TakeUploadSlot(200);
  EXPECT_NEAR(score::FreeUpload(peer), 0.75, kNear);
  for (int i = 0; i < 150; ++i) peer.host().TakeUploadSlot(200);
  EXPECT_EQ(score::FreeUpload(peer), 0);
}

TEST(Score, HostTypePrefersSeedsAsLongAsTheyFetch) {
  World world;
  World::Peer seed("seed");
  Registration registration = World::Download();
  registration.need_back_to_source = true;
  ASSERT_TRUE(world.Register(seed, registration, true).ok());
  EXPECT_EQ(score::HostType(world.Get(seed)), 1);
  world.Begin(seed);
  EXPECT_EQ(score::HostType(world.Get(seed)), 1);
  world.Finish(seed, Origin::kSource);
  EXPECT_EQ(score::HostType(world.Get(seed)), 0);
  EXPECT_EQ(score::HostType(world.Get(world.Complete("normal"))), 0.5);
}

TEST(Score, DefaultEvaluatorWeighsTheTerms) {
  World world;
  const World::Peer parent = world.Complete("parent");
  World::Peer child("child");
  auto facts = testing::MakeFacts("host-child");
  facts->idc = "fra1";
  facts->location = "eu|de|fra";
  world.AnnounceHost(facts);
  auto parent_facts = testing::MakeFacts("host-parent");
  parent_facts->idc = "fra1";
  parent_facts->location = "eu|de|ber";
  world.AnnounceHost(parent_facts);
  ASSERT_TRUE(world.Register(child).ok());
  // One slot of 200 is taken by the child. 0.20 piece + 0.20 success + 0.15 * (199/200 + 0.5 + 1 + 0.4).
  EXPECT_NEAR(world.evaluator->Score(world.Get(parent), world.Get(child)), 0.4 + 0.15 * (0.995 + 0.5 + 1 + 0.4), kNear);
  world.Get(parent).host().CountUpload(false);
  EXPECT_NEAR(world.evaluator->Score(world.Get(parent), world.Get(child)), 0.2 + 0.15 * (0.995 + 0.5 + 1 + 0.4), kNear);
}

TEST(BadParent, IsJudgedByWhatItsChildrenSawAndForgivenInTime) {
  World world;
  const World::Peer parent = world.Complete("parent");
  World::Peer child("child");
  ASSERT_TRUE(world.Register(child).ok());
  world.Begin(child);
  world.PieceFromParent(child, parent, 0, 10ms);
  EXPECT_FALSE(world.evaluator->IsBad(world.Get(parent), world.now));
  world.PieceFromParent(child, parent, 1, 1s);
  EXPECT_TRUE(world.evaluator->IsBad(world.Get(parent), world.now));
  EXPECT_FALSE(world.evaluator->IsBad(world.Get(parent), world.now + 61s));
  world.PieceFromParent(child, parent, 2, 10ms);
  EXPECT_FALSE(world.evaluator->IsBad(world.Get(parent), world.now));
}

TEST(BadParent, CanBeJudgedByItsOwnDownloadsAsTheReferenceDoes) {
  ShardOptions options;
  options.cost_source = CostSource::kItself;
  World world(options);
  const World::Peer parent = world.Complete("parent");
  World::Peer child("child");
  ASSERT_TRUE(world.Register(child).ok());
  world.Begin(child);
  world.PieceFromParent(child, parent, 0, 10ms);
  world.PieceFromParent(child, parent, 1, 1s);
  EXPECT_FALSE(world.evaluator->IsBad(world.Get(parent), world.now));
  EXPECT_TRUE(world.evaluator->IsBad(world.Get(child), world.now));
}

TEST(BadParent, IsEveryPeerThatDoesNotDownloadAndHasNotSucceeded) {
  World world;
  World::Peer peer("p");
  ASSERT_TRUE(world.Register(peer).ok());
  EXPECT_TRUE(world.evaluator->IsBad(world.Get(peer), world.now));
  world.Begin(peer);
  EXPECT_FALSE(world.evaluator->IsBad(world.Get(peer), world.now));
}

TEST(MakeEvaluator, KnowsTheNamesOfTheReferenceAndRefusesOthers) {
  EXPECT_TRUE(MakeEvaluator("default").ok());
  EXPECT_TRUE(MakeEvaluator("ml").ok());
  EXPECT_EQ(MakeEvaluator("plugin").status().code(), absl::StatusCode::kInvalidArgument);
  EXPECT_EQ(MakeEvaluator("best").status().code(), absl::StatusCode::kInvalidArgument);
}

TEST(LoadEvaluator, PrefersTheHostWithFewerChildrenForItsBandwidth) {
  World world;
  world.AddHost("host-slow").max_tx_rate = 125e6;
  world.AddHost("host-fast").max_tx_rate = 1250e6;
  const World::Peer slow = world.Complete("slow");
  const World::Peer fast = world.Complete("fast");
  World::Peer child("child");
  ASSERT_TRUE(world.Register(child).ok());
  const auto load = *MakeEvaluator("load");
  EXPECT_GT(load->Score(world.Get(fast), world.Get(child)), load->Score(world.Get(slow), world.Get(child)));
  const double before = load->Score(world.Get(fast), world.Get(child));
  world.Get(fast).host().TakeUploadSlot(200);
  EXPECT_LT(load->Score(world.Get(fast), world.Get(child)), before);
}

TEST(LoadEvaluator, PrefersAnyHostOfTheSameDataCentre) {
  World world;
  HostFacts& near = world.AddHost("host-near");
  HostFacts& far = world.AddHost("host-far");
  near.max_tx_rate = far.max_tx_rate = 125e6;
  near.idc = "a";
  far.idc = "b";
  world.AddHost("host-child").idc = "a";
  const World::Peer near_peer = world.Complete("near");
  const World::Peer far_peer = world.Complete("far");
  World::Peer child("child");
  ASSERT_TRUE(world.Register(child).ok());
  for (int i = 0; i < 7; ++i) world.Get(near_peer).host().TakeUploadSlot(200);
  const auto load = *MakeEvaluator("load");
  EXPECT_GT(load->Score(world.Get(near_peer), world.Get(child)), load->Score(world.Get(far_peer), world.Get(child)));
}

TEST(LoadEvaluator, JudgesAHostThatSaysNothingOfItsBandwidthAsBefore) {
  World world;
  const World::Peer parent = world.Complete("parent");
  World::Peer child("child");
  ASSERT_TRUE(world.Register(child).ok());
  const auto load = *MakeEvaluator("load");
  const auto plain = *MakeEvaluator("default");
  EXPECT_EQ(load->Score(world.Get(parent), world.Get(child)), plain->Score(world.Get(parent), world.Get(child)));
  EXPECT_FALSE(load->IsFull(world.Get(parent)));
}

TEST(LoadEvaluator, CallsAHostFullThatServesTwiceWhatFillsIt) {
  World world;
  world.AddHost("host-parent").max_tx_rate = 125e6;
  const World::Peer parent = world.Complete("parent");
  const auto load = *MakeEvaluator("load");
  for (int i = 0; i < 8; ++i) {
    EXPECT_FALSE(load->IsFull(world.Get(parent))) << i;
    world.Get(parent).host().TakeUploadSlot(200);
  }
  EXPECT_TRUE(load->IsFull(world.Get(parent)));
}

TEST(LoadEvaluator, TakesAnyRateForWhatItIsSaidToBe) {
  World world;
  world.AddHost("host-parent").max_tx_rate = static_cast<double>(UINT64_MAX) / 8;
  const World::Peer parent = world.Complete("parent");
  for (int i = 0; i < 100; ++i) world.Get(parent).host().TakeUploadSlot(200);
  EXPECT_FALSE((*MakeEvaluator("load"))->IsFull(world.Get(parent)));
}

TEST(LoadEvaluator, LetsPeersBeginAtParentsWithFewChildren) {
  World world;
  for (const char* host : {"host-parent", "host-middle"}) world.AddHost(host).max_tx_rate = 125e6;
  const World::Peer parent = world.Complete("parent");
  const World::Peer child = world.Complete("child");
  World::Peer middle("middle");
  ASSERT_TRUE(world.Register(middle).ok());
  world.Begin(middle);
  world.PieceFromParent(middle, parent, 0);
  const auto load = *MakeEvaluator("load");
  for (int i = 0; i < 6; ++i) {
    EXPECT_FALSE(load->IsBusy(world.Get(middle), world.Get(child))) << i;
    for (const World::Peer& peer : {parent, middle}) world.Get(peer).host().TakeUploadSlot(200);
  }
  EXPECT_TRUE(load->IsBusy(world.Get(middle), world.Get(child)));
  EXPECT_FALSE(load->IsFull(world.Get(middle)));
  // One that needs nobody sends to as many as it can.
  EXPECT_FALSE(load->IsBusy(world.Get(parent), world.Get(child)));
}

}  // namespace
}  // namespace dragonfly::scheduler
