// SPDX-License-Identifier: Apache-2.0
// Peers that have no piece yet: where they begin, and when, under the load-aware evaluator.
#include <algorithm>
#include <deque>

#include "tests/unit/scheduler/world.h"

namespace dragonfly::scheduler {
namespace {

using namespace std::chrono_literals;
using testing::World;

class Beginners : public ::testing::Test {
 protected:
  World::Peer& Join(const std::string& id, Registration registration = World::Download()) {
    registration.takes_more_parents = true;
    World::Peer& peer = joined_.emplace_back(id);
    EXPECT_TRUE(world_.Register(peer, std::move(registration)).ok());
    if (peer.stream->has_parents()) world_.Begin(peer);
    return peer;
  }
  static bool Has(const World::Peer& child, const World::Peer& parent) {
    const std::vector<std::string> parents = child.stream->parents();
    return std::find(parents.begin(), parents.end(), parent.id) != parents.end();
  }

  World world_{ShardOptions(), "load"};
  const World::Peer seed_ = world_.Complete("seed");
  std::deque<World::Peer> joined_;
};

TEST_F(Beginners, StartOneAtATimeAtAParent) {
  World::Peer& first = Join("first");
  EXPECT_TRUE(Has(first, seed_));
  World::Peer& second = Join("second");
  EXPECT_EQ(second.stream->parents(), std::vector<std::string>{"first"}) << "the seed is busy";
  World::Peer& third = Join("third");
  EXPECT_EQ(third.stream->parents(), std::vector<std::string>{"second"});
  EXPECT_EQ(world_.Get(seed_).beginners(), 1);

  // Later pieces of the same child free nobody; its first does.
  world_.PieceFromParent(first, seed_, 3);
  EXPECT_EQ(world_.Get(seed_).beginners(), 0);
  world_.PieceFromParent(first, seed_, 3);
  world_.PieceFromParent(first, seed_, 4);
  EXPECT_EQ(world_.Get(seed_).beginners(), 0);
  EXPECT_TRUE(Has(Join("fourth"), seed_));
}

TEST_F(Beginners, StartTogetherAsLongAsTheParentCanSendToAll) {
  const auto host = [](const std::string& id, double rate) {
    auto facts = testing::MakeFacts(id);
    facts->max_tx_rate = facts->max_rx_rate = rate;
    return facts;
  };
  world_.AnnounceHost(host("host-seed", 300e6));
  for (const char* id : {"host-0", "host-1", "host-2", "host-3"}) world_.AnnounceHost(host(id, 100e6));
  for (const char* id : {"0", "1", "2"}) EXPECT_TRUE(Has(Join(id), seed_)) << id;
  EXPECT_EQ(world_.Get(seed_).beginners(), 3);
  EXPECT_FALSE(Has(Join("3"), seed_)) << "four are too many";
}

TEST_F(Beginners, TakeFromNearWhenSomeTakeFromFarAlready) {
  const auto near = [](const std::string& id) {
    auto facts = testing::MakeFacts("host-" + id);
    facts->idc = "b";
    return facts;
  };
  auto of_seed = testing::MakeFacts("host-seed");
  of_seed->idc = "a";
  world_.AnnounceHost(std::move(of_seed));
  for (int i = 0; i < 40; ++i) {
    const std::string id = std::to_string(i);
    world_.AnnounceHost(near(id));
    World::Peer& peer = Join(id);
    ASSERT_TRUE(peer.stream->has_parents()) << id;
    world_.PieceFromParent(peer, seed_, 0);
  }
  const auto& task = world_.Get(seed_).task();
  EXPECT_EQ(task.gateways("a"), 0u);
  EXPECT_EQ(task.gateways("b"), 16u);
  EXPECT_TRUE(Has(joined_.front(), seed_));
  EXPECT_FALSE(Has(joined_.back(), seed_));

  // One that has everything needs nobody, and leaves its place to the next.
  world_.Finish(joined_.front(), Origin::kPeers);
  EXPECT_EQ(task.gateways("b"), 15u);
  ASSERT_TRUE(world_.shard.DeletePeer("task", "1", world_.now));
  EXPECT_EQ(task.gateways("b"), 14u);
  for (const World::Peer& peer : joined_) world_.shard.DeletePeer("task", peer.id, world_.now);
  EXPECT_EQ(task.gateway_sites(), 0u) << "nothing is kept of names that strangers chose";
}

TEST_F(Beginners, OfADataCentreWithoutOthersTakeFromFarAllTheSame) {
  auto of_seed = testing::MakeFacts("host-seed");
  of_seed->idc = "a";
  world_.AnnounceHost(std::move(of_seed));
  // Sixteen that have not begun: nobody near has anything to give.
  std::deque<World::Peer> waiting;
  for (int i = 0; i < 17; ++i) {
    World::Peer& peer = waiting.emplace_back(std::to_string(i));
    auto facts = testing::MakeFacts(peer.host);
    facts->idc = "b";
    world_.AnnounceHost(std::move(facts));
    Registration registration = World::Download();
    registration.takes_more_parents = true;
    ASSERT_TRUE(world_.Register(peer, std::move(registration)).ok());
    world_.Pass(100ms);
    EXPECT_TRUE(Has(peer, seed_)) << i;
  }
  // So do its helpers come from there.
  auto of_other = testing::MakeFacts("host-other");
  of_other->idc = "a";
  world_.AnnounceHost(std::move(of_other));
  world_.Complete("other");
  world_.Begin(waiting.back());
  world_.Pass(1s);
  EXPECT_EQ(waiting.back().stream->more, std::vector<std::string>{"other"});
}

TEST_F(Beginners, WaitForTheFirstPieceOfTheOneBefore) {
  World::Peer first("first"), second("second");
  ASSERT_TRUE(world_.Register(first).ok());
  ASSERT_TRUE(first.stream->has_parents());
  ASSERT_TRUE(world_.Register(second).ok());
  EXPECT_TRUE(second.stream->answers.empty()) << "the first has not said that it has begun, so it can give nothing";
  world_.PieceFromParent(first, seed_, 0);
  EXPECT_TRUE(second.stream->has_parents());
}

TEST_F(Beginners, AreNotHeldUpByOneThatGoes) {
  World::Peer first("first"), second("second");
  ASSERT_TRUE(world_.Register(first).ok());
  ASSERT_TRUE(world_.Register(second).ok());
  EXPECT_TRUE(second.stream->answers.empty());
  ASSERT_TRUE(world_.shard.Failed(first.address(), Origin::kPeers, world_.now).ok());
  EXPECT_TRUE(second.stream->has_parents());
  EXPECT_EQ(world_.Get(seed_).beginners(), 1);
  ASSERT_TRUE(world_.shard.DeletePeer("task", "second", world_.now));
  EXPECT_EQ(world_.Get(seed_).beginners(), 0);
}

TEST_F(Beginners, WaitForASlowOneATenthOfASecond) {
  World::Peer first("first"), second("second");
  ASSERT_TRUE(world_.Register(first).ok());
  ASSERT_TRUE(world_.Register(second).ok());
  world_.Pass(99ms);
  EXPECT_TRUE(second.stream->answers.empty());
  world_.Pass(1ms);
  EXPECT_TRUE(second.stream->has_parents());
}

TEST_F(Beginners, DoNotWaitWhenOnePieceIsAll) {
  World world(ShardOptions(), "load");
  const auto one_piece = [] {
    Registration registration = World::Download(1 << 20);
    registration.about.url = "http://origin/small";
    return registration;
  };
  World::Peer small_seed("small-seed"), first("first"), second("second");
  Registration from_origin = one_piece();
  from_origin.need_back_to_source = true;
  ASSERT_TRUE(world.Register(small_seed, std::move(from_origin)).ok());
  world.Begin(small_seed);
  ASSERT_TRUE(world.shard.Finished(small_seed.address(), Origin::kSource, 1 << 20, 1, world.now).ok());
  ASSERT_TRUE(world.Register(first, one_piece()).ok());
  ASSERT_TRUE(world.Register(second, one_piece()).ok());
  EXPECT_TRUE(first.stream->has_parents());
  EXPECT_TRUE(second.stream->has_parents());
}

TEST_F(Beginners, GetOneCompleteParentWhileFewHaveEverything) {
  const World::Peer more[] = {world_.Complete("seed-2"), world_.Complete("seed-3")};
  const auto complete_parents = [&](const World::Peer& child) {
    return Has(child, seed_) + Has(child, more[0]) + Has(child, more[1]);
  };
  EXPECT_EQ(complete_parents(Join("first")), 3) << "most have everything: nobody else needs them";
  for (int i = 0; i < 8; ++i) {
    for (World::Peer& peer : joined_) {
      if (world_.Get(peer).pieces.count() == 0) world_.PieceFromParent(peer, seed_, 0);
    }
    World::Peer& next = Join(std::to_string(i));
    ASSERT_TRUE(next.stream->has_parents());
    if (i >= 3) {
      EXPECT_LE(complete_parents(next), 1) << i;
      EXPECT_GE(next.stream->parents().size(), 2u) << i;
    }
  }
}

}  // namespace
}  // namespace dragonfly::scheduler
