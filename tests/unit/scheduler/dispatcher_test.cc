// SPDX-License-Identifier: Apache-2.0
// Who waits, who is woken, who reads the origin: the dispatcher as peers feel it, on a clock that the test moves.
#include "scheduler/dispatcher.h"

#include <deque>
#include <set>

#include "tests/unit/scheduler/world.h"

namespace dragonfly::scheduler {
namespace {

using namespace std::chrono_literals;
using testing::World;

int SentToSource(const std::deque<World::Peer>& peers) {
  int count = 0;
  for (const World::Peer& peer : peers) count += peer.stream->sent_to_source() ? 1 : 0;
  return count;
}

int WithParents(const std::deque<World::Peer>& peers) {
  int count = 0;
  for (const World::Peer& peer : peers) count += peer.stream->has_parents() ? 1 : 0;
  return count;
}

std::deque<World::Peer> RegisterMany(World& world, int count, const Registration& registration = World::Download()) {
  std::deque<World::Peer> peers;
  for (int i = 0; i < count; ++i) {
    peers.emplace_back("peer-" + std::to_string(i));
    EXPECT_TRUE(world.Register(peers.back(), registration).ok());
  }
  return peers;
}

World::Peer SeedPeer(const std::string& host = "seed") {
  World::Peer seed("peer-of-" + host);
  seed.host = host;
  return seed;
}

Registration SeedDownload(std::optional<uint64_t> length = 40 << 20) {
  Registration registration = World::Download(length);
  registration.need_back_to_source = true;
  return registration;
}

TEST(Dispatcher, SendsTheFirstPeerToTheOriginWhenThereIsNoSeed) {
  World world;
  std::deque<World::Peer> peers = RegisterMany(world, 64);
  EXPECT_TRUE(peers[0].stream->sent_to_source());
  EXPECT_EQ(peers[0].stream->answers[0].description, "peer's NeedBackToSource is true");
  EXPECT_EQ(SentToSource(peers), 1);
  EXPECT_EQ(WithParents(peers), 0);
  world.Begin(peers[0]);
  EXPECT_EQ(WithParents(peers), 63) << "woken before the first piece";
  for (const World::Peer& peer : peers) EXPECT_EQ(peer.stream->answers.size(), 1u);
}

TEST(Dispatcher, AsksOneSeedForManyPeersAndReadsTheOriginOnce) {
  World world;
  world.AddHost("seed", true);
  std::deque<World::Peer> peers = RegisterMany(world, 64);
  ASSERT_EQ(world.seeds.requests.size(), 1u);
  EXPECT_EQ(world.seeds.requests[0].seed->id, "seed");
  EXPECT_EQ(SentToSource(peers), 0);
  World::Peer seed = SeedPeer();
  ASSERT_TRUE(world.Register(seed, SeedDownload()).ok());
  EXPECT_TRUE(seed.stream->sent_to_source());
  EXPECT_EQ(WithParents(peers), 0);
  world.Begin(seed);
  EXPECT_EQ(WithParents(peers), 64);
  world.Pass(60s);
  EXPECT_EQ(SentToSource(peers), 0);
  EXPECT_EQ(world.seeds.requests.size(), 1u);
}

TEST(Dispatcher, SendsExactlyOneWaiterAtOnceWhenTheSeedFails) {
  World world;
  world.AddHost("seed", true);
  std::deque<World::Peer> peers = RegisterMany(world, 64);
  ASSERT_EQ(world.seeds.requests.size(), 1u);
  world.shard.SeedEnded("task", world.seeds.requests[0].trigger_id, absl::InternalError("origin says no"), std::nullopt,
                        world.now);
  EXPECT_EQ(SentToSource(peers), 1);
  EXPECT_TRUE(peers[0].stream->sent_to_source());
  EXPECT_EQ(peers[0].stream->answers[0].description, "scheduling exceeded RetryBackToSourceLimit");
  world.Pass(1900ms);
  EXPECT_EQ(SentToSource(peers), 1) << "the others hope for that one";
  world.Begin(peers[0]);
  EXPECT_EQ(WithParents(peers), 63);
}

TEST(Dispatcher, TriesTheNextSeedWhenOneCannotBeReached) {
  World world;
  for (const char* id : {"seed-a", "seed-b"}) world.AddHost(id, true);
  std::deque<World::Peer> peers = RegisterMany(world, 3);
  ASSERT_EQ(world.seeds.requests.size(), 1u);
  world.shard.SeedEnded("task", world.seeds.requests[0].trigger_id, absl::UnavailableError("connection refused"),
                        std::nullopt, world.now);
  ASSERT_EQ(world.seeds.requests.size(), 2u);
  EXPECT_NE(world.seeds.requests[0].seed->id, world.seeds.requests[1].seed->id);
  EXPECT_EQ(SentToSource(peers), 0);
  world.shard.SeedEnded("task", world.seeds.requests[1].trigger_id, absl::UnavailableError("connection refused"),
                        std::nullopt, world.now);
  EXPECT_EQ(world.seeds.requests.size(), 2u);
  EXPECT_EQ(SentToSource(peers), 1);
}

TEST(Dispatcher, DoesNotAskSeedsAgainForATaskThatTheyHaveFailed) {
  World world;
  world.AddHost("seed", true);
  World::Peer first("first");
  ASSERT_TRUE(world.Register(first).ok());
  world.shard.SeedEnded("task", 1, absl::InternalError("404"), std::nullopt, world.now);
  world.Begin(first);
  ASSERT_TRUE(world.shard.Failed(first.address(), Origin::kSource, world.now).ok());
  World::Peer second("second");
  ASSERT_TRUE(world.Register(second).ok());
  EXPECT_EQ(world.seeds.requests.size(), 1u);
  EXPECT_TRUE(second.stream->sent_to_source());
}

TEST(Dispatcher, WaitsNoLongerThanTheClassicalLimitForASilentSeed) {
  World world;
  world.AddHost("seed", true);
  std::deque<World::Peer> peers = RegisterMany(world, 8);
  world.Pass(1999ms);
  EXPECT_EQ(SentToSource(peers), 0);
  world.Pass(2ms);
  EXPECT_EQ(SentToSource(peers), 1);
  world.Pass(1900ms);
  EXPECT_EQ(SentToSource(peers), 1);
  world.Pass(200ms);
  EXPECT_EQ(SentToSource(peers), 2) << "the first has not begun within the limit either";
}

TEST(Dispatcher, PrefersWaitingAsLongAsTheOriginIsReadSomewhere) {
  World world;
  // Nobody knows the length, so nobody can use the worker as a parent.
  std::deque<World::Peer> peers = RegisterMany(world, 16, World::Download(std::nullopt));
  ASSERT_TRUE(peers[0].stream->sent_to_source());
  world.Begin(peers[0]);
  for (uint32_t piece = 0; piece < 10; ++piece) {
    world.Pass(3s);
    world.PieceFromSource(peers[0], piece);
  }
  EXPECT_EQ(SentToSource(peers), 1);
  EXPECT_EQ(WithParents(peers), 0);
  world.Finish(peers[0], Origin::kSource);
  EXPECT_EQ(WithParents(peers), 15) << "woken by the length";
}

TEST(Dispatcher, SendsOneMoreToTheOriginWhenTheWorkerStandsStill) {
  World world;
  std::deque<World::Peer> peers = RegisterMany(world, 16, World::Download(std::nullopt));
  world.Begin(peers[0]);
  world.PieceFromSource(peers[0], 0);
  world.Pass(9900ms);
  EXPECT_EQ(SentToSource(peers), 1);
  world.PieceFromSource(peers[0], 0);
  world.Pass(200ms);
  EXPECT_EQ(SentToSource(peers), 2) << "a piece that it had already is no progress";
  world.Begin(peers[1]);
  world.Pass(9s);
  EXPECT_EQ(SentToSource(peers), 2);
}

TEST(Dispatcher, SendsTheFullestWaiterWhenTheSeedDiesHalfWay) {
  World world;
  world.AddHost("seed", true);
  std::deque<World::Peer> peers = RegisterMany(world, 16);
  World::Peer seed = SeedPeer();
  ASSERT_TRUE(world.Register(seed, SeedDownload()).ok());
  world.Begin(seed);
  for (const World::Peer& peer : peers) world.Begin(peer);
  for (uint32_t piece = 0; piece < 5; ++piece) world.PieceFromSource(seed, piece);
  for (size_t i = 0; i < peers.size(); ++i) {
    for (uint32_t piece = 0; piece < (i == 11 ? 4u : 2u); ++piece) world.PieceFromParent(peers[i], seed, piece);
  }
  world.shard.StreamEnded(seed.address(), seed.stream.get(), world.now);
  for (const World::Peer& peer : peers) world.Reschedule(peer);
  EXPECT_EQ(SentToSource(peers), 0);
  world.Pass(100ms);
  EXPECT_EQ(SentToSource(peers), 1);
  ASSERT_TRUE(peers[11].stream->sent_to_source());
  world.Begin(peers[11]);
  int others = 0;
  for (size_t i = 0; i < peers.size(); ++i) {
    if (i == 11) continue;
    ASSERT_EQ(peers[i].stream->answers.size(), 2u) << i;
    EXPECT_TRUE(peers[i].stream->has_parents());
    ++others;
  }
  EXPECT_EQ(others, 15);
  world.Pass(20s);
  EXPECT_EQ(SentToSource(peers), 1);
}

TEST(Dispatcher, APeerThatCannotUseTheWorkerGoesToTheOriginAtTheClassicalLimit) {
  World world;
  std::deque<World::Peer> peers = RegisterMany(world, 2);
  world.Begin(peers[0]);
  ASSERT_TRUE(peers[1].stream->has_parents());
  world.Begin(peers[1]);
  world.PieceFromSource(peers[0], 0);
  world.Reschedule(peers[1]);
  world.PieceFromSource(peers[0], 1);
  world.Pass(2001ms);
  EXPECT_TRUE(peers[1].stream->sent_to_source());
}

TEST(Dispatcher, LetsAllHearOfARefusingOriginInGrowingGroups) {
  World world;
  std::deque<World::Peer> peers = RegisterMany(world, 64);
  int rounds = 0;
  size_t failed = 0;
  std::set<std::string> done;
  while (failed < peers.size() && rounds < 20) {
    ++rounds;
    std::vector<World::Peer*> sent;
    for (World::Peer& peer : peers) {
      if (peer.stream->sent_to_source() && !done.contains(peer.id)) sent.push_back(&peer);
    }
    ASSERT_FALSE(sent.empty());
    for (World::Peer* peer : sent) {
      ASSERT_TRUE(world.shard.BackToSourceStarted(peer->address(), world.now).ok());
      // Others that wait get it as a parent, and come back.
    }
    for (World::Peer* peer : sent) {
      ASSERT_TRUE(world.shard.Failed(peer->address(), Origin::kSource, world.now).ok());
      done.insert(peer->id);
      ++failed;
    }
    for (World::Peer& peer : peers) {
      if (!done.contains(peer.id) && peer.stream->has_parents()) world.Reschedule(peer);
    }
    world.Pass(150ms);
  }
  EXPECT_EQ(failed, peers.size());
}

TEST(Dispatcher, WakesWaitersWhenAnUploadSlotIsFreed) {
  World world;
  const World::Peer parent = world.Complete("parent");
  auto facts = testing::MakeFacts(parent.host);
  facts->upload_limit = 1;
  world.AnnounceHost(facts);
  World::Peer first("first"), second("second");
  ASSERT_TRUE(world.Register(first).ok());
  ASSERT_TRUE(first.stream->has_parents());
  ASSERT_TRUE(world.Register(second).ok());
  EXPECT_TRUE(second.stream->answers.empty());
  // A child that has not begun has nothing to give, so the slot is what the second waits for.
  ASSERT_TRUE(world.shard.Failed(first.address(), Origin::kPeers, world.now).ok());
  EXPECT_TRUE(second.stream->has_parents());
}

TEST(Dispatcher, FindsSlotsFreedByOtherTasksWithinARetryInterval) {
  World world;
  const World::Peer parent = world.Complete("parent");
  Host& host = world.Get(parent).host();
  while (host.TakeUploadSlot(200)) {
  }
  World::Peer child("child");
  ASSERT_TRUE(world.Register(child).ok());
  world.Pass(400ms);
  EXPECT_TRUE(child.stream->answers.empty());
  host.GiveUploadSlot();
  world.Pass(100ms);
  EXPECT_TRUE(child.stream->has_parents());
}

TEST(Dispatcher, ATaskWithoutBackToSourceFailsItsWaitersAtTheRetryLimit) {
  ShardOptions options;
  options.dispatch.back_to_source_count = -1;
  World world(options);
  World::Peer peer("p");
  ASSERT_TRUE(world.Register(peer).ok());
  EXPECT_TRUE(peer.stream->answers.empty());
  world.Pass(2499ms);
  EXPECT_FALSE(peer.stream->finished.has_value());
  world.Pass(1ms);
  ASSERT_TRUE(peer.stream->finished.has_value());
  EXPECT_EQ(peer.stream->finished->code(), absl::StatusCode::kFailedPrecondition);
  EXPECT_EQ(peer.stream->finished->message(), "scheduling exceeded RetryLimit");
  EXPECT_EQ(world.StateOf(peer), PeerState::kFailed);
}

// One look at all of them would hold the shard's thread for long.
TEST(Dispatcher, LooksAtVeryManyWaitersInSteps) {
  World world;
  world.AddHost("seed", true);
  constexpr size_t kPeers = 3000;
  std::deque<World::Peer> peers = RegisterMany(world, int{kPeers});
  ASSERT_EQ(WithParents(peers), 0);
  // The seed begins: it can serve 2000.
  World::Peer seed = SeedPeer();
  ASSERT_TRUE(world.Register(seed, SeedDownload(), true).ok());
  world.Begin(seed);
  const int first = WithParents(peers);
  EXPECT_GT(first, 0);
  EXPECT_LT(first, 2000) << "in one step";
  EXPECT_LE(world.shard.NextDeadline(), world.now);
  int steps = 0;
  for (; world.shard.NextDeadline() <= world.now; ++steps) {
    const int before = WithParents(peers);
    world.shard.Tick(world.now);
    EXPECT_LE(WithParents(peers) - before, 200);
  }
  EXPECT_GT(steps, 5);
  EXPECT_EQ(WithParents(peers), 2000);
  // First come, first served.
  for (size_t i = 0; i < kPeers; ++i) EXPECT_EQ(peers[i].stream->has_parents(), i < 2000) << i;
  // Those that wait are answered as those begin that have parents.
  for (size_t i = 0; i < 2000; ++i) world.Begin(peers[i]);
  world.Pass(1s);
  EXPECT_EQ(WithParents(peers), int{kPeers});
  for (const World::Peer& peer : peers) EXPECT_EQ(peer.stream->answers.size(), 1u) << peer.id;
}

TEST(Dispatcher, WaitersThatLeaveWhileTheyAreLookedAtAreLeftOut) {
  World world;
  world.AddHost("seed", true);
  std::deque<World::Peer> peers = RegisterMany(world, 3000);
  World::Peer seed = SeedPeer();
  ASSERT_TRUE(world.Register(seed, SeedDownload(), true).ok());
  world.Begin(seed);
  world.shard.Tick(world.now);
  for (size_t i = 0; i < peers.size(); i += 2) {
    ASSERT_TRUE(world.shard.DeletePeer("task", peers[i].id, world.now));
  }
  world.Pass(1s);
  for (size_t i = 1; i < peers.size(); i += 2) EXPECT_TRUE(peers[i].stream->has_parents()) << i;
}

TEST(Dispatcher, NeverLetsMorePeersToTheOriginThanConfigured) {
  ShardOptions options;
  options.dispatch.back_to_source_count = 2;
  World world(options);
  std::deque<World::Peer> peers = RegisterMany(world, 3, SeedDownload());
  EXPECT_EQ(SentToSource(peers), 2);
}

TEST(Dispatcher, ANegativeLimitMeansTheOriginAtOnce) {
  ShardOptions options;
  options.dispatch.retry_back_to_source_limit = -1;
  World world(options);
  std::deque<World::Peer> peers = RegisterMany(world, 3);
  EXPECT_EQ(SentToSource(peers), 3);
}

struct PriorityRow {
  int32_t priority;
  absl::StatusCode code;
  const char* message;
  bool to_source;
  bool asks_seed;
};

TEST(Dispatcher, StartsByPriority) {
  for (const PriorityRow& row : std::vector<PriorityRow>{
           {0, absl::StatusCode::kOk, "", false, true},
           {1, absl::StatusCode::kFailedPrecondition, "LEVEL1 peer is forbidden", false, false},
           {2, absl::StatusCode::kNotFound, "LEVEL2 peer not found candidate peers", false, false},
           {3, absl::StatusCode::kOk, "", true, false},
           {4, absl::StatusCode::kOk, "", false, true},
           {5, absl::StatusCode::kOk, "", false, true},
           {6, absl::StatusCode::kOk, "", false, true},
           {7, absl::StatusCode::kInvalidArgument, "invalid priority 7", false, false},
       }) {
    World world;
    world.AddHost("seed", true);
    World::Peer peer("p");
    Registration registration = World::Download();
    registration.priority = row.priority;
    const absl::Status status = world.Register(peer, registration);
    EXPECT_EQ(status.code(), row.code) << row.priority;
    EXPECT_EQ(status.message(), row.message);
    EXPECT_EQ(peer.stream->sent_to_source(), row.to_source) << row.priority;
    EXPECT_EQ(world.seeds.requests.size(), row.asks_seed ? 1u : 0u) << row.priority;
  }
}

TEST(Dispatcher, ASeedThatRegistersForItselfReadsTheOrigin) {
  World world;
  World::Peer seed = SeedPeer();
  ASSERT_TRUE(world.Register(seed, World::Download(), true).ok());
  EXPECT_TRUE(seed.stream->sent_to_source());
  EXPECT_TRUE(world.seeds.requests.empty());
}

TEST(Dispatcher, UsesASeedThatHadEverythingAndDidNotRegister) {
  World world;
  world.AddHost("seed", true);
  std::deque<World::Peer> peers = RegisterMany(world, 4, World::Download(std::nullopt));
  const uint64_t trigger = world.seeds.requests.at(0).trigger_id;
  world.shard.SeedProgress("task", trigger, 40 << 20, world.now);
  EXPECT_EQ(WithParents(peers), 0);
  world.shard.SeedEnded("task", trigger, absl::OkStatus(), Shard::SeedPeer{"peer-of-seed", std::nullopt}, world.now);
  EXPECT_EQ(WithParents(peers), 4);
  EXPECT_THAT(peers[0].stream->parents(), ::testing::ElementsAre("peer-of-seed"));
}

// A client may have got everything by what it had asked for before.
TEST(Dispatcher, WhoFinishesWhileItWaitsWaitsNoMore) {
  World world;
  World::Peer source("source"), waiter("waiter");
  ASSERT_TRUE(world.Register(source).ok());
  ASSERT_TRUE(source.stream->sent_to_source());
  ASSERT_TRUE(world.Register(waiter).ok());
  ASSERT_TRUE(waiter.stream->answers.empty());
  ASSERT_TRUE(world.shard.Started(waiter.address(), world.now).ok());
  EXPECT_TRUE(world.Get(waiter).waiting());
  world.Finish(waiter, Origin::kPeers);
  EXPECT_FALSE(world.Get(waiter).waiting());
  world.Pass(1min);
  EXPECT_TRUE(waiter.stream->answers.empty());
}

TEST(Dispatcher, WhoHasFinishedGetsNoMoreParents) {
  World world;
  World::Peer peer("peer");
  Registration registration = World::Download();
  registration.need_back_to_source = true;
  ASSERT_TRUE(world.Register(peer, std::move(registration)).ok());
  world.Begin(peer);
  world.Finish(peer, Origin::kSource);
  const absl::Status again = world.shard.Reschedule(peer.address(), {}, world.now);
  EXPECT_EQ(again, absl::FailedPreconditionError("load stream failed"));
  world.Pass(1min);
  EXPECT_FALSE(world.Get(peer).waiting());
  EXPECT_EQ(peer.stream->answers.size(), 1u);
}

TEST(Dispatcher, IgnoresWhatAnOlderTriggerTells) {
  World world;
  for (const char* id : {"seed-a", "seed-b"}) world.AddHost(id, true);
  std::deque<World::Peer> peers = RegisterMany(world, 2);
  const uint64_t first = world.seeds.requests.at(0).trigger_id;
  world.shard.SeedEnded("task", first, absl::UnavailableError(""), std::nullopt, world.now);
  ASSERT_EQ(world.seeds.requests.size(), 2u);
  world.shard.SeedEnded("task", first, absl::InternalError(""), std::nullopt, world.now);
  EXPECT_EQ(SentToSource(peers), 0);
}

// A child with one parent, and another peer that downloads from the child.
struct Wide {
  explicit Wide(bool takes_more) {
    Registration registration = World::Download();
    registration.takes_more_parents = takes_more;
    EXPECT_TRUE(world.Register(child, std::move(registration)).ok());
    world.Begin(child);
    EXPECT_TRUE(world.Register(below).ok());
    world.Begin(below);
  }
  World world;
  World::Peer parent = world.Complete("parent");
  World::Peer child{"child"};
  World::Peer below{"below"};
};

TEST(Widening, GivesAPeerMoreToDownloadFromEvenThoseThatDownloadFromIt) {
  Wide wide(true);
  ASSERT_EQ(wide.child.stream->answers.size(), 1u);
  const int32_t slots = wide.world.Get(wide.below).host().upload_slots();
  wide.world.Pass(300ms);
  EXPECT_EQ(wide.child.stream->answers.size(), 1u);
  EXPECT_EQ(wide.child.stream->more, std::vector<std::string>{"below"});
  EXPECT_EQ(wide.world.Get(wide.below).host().upload_slots(), slots + 1);
  // When it has everything, the slot is free.
  wide.world.Finish(wide.child, Origin::kPeers);
  EXPECT_EQ(wide.world.Get(wide.below).host().upload_slots(), slots);
  wide.world.Pass(10s);
  EXPECT_EQ(wide.child.stream->more.size(), 1u);
}

TEST(Widening, LeavesAPeerAloneThatTakesParentsOnlyWhenItAsks) {
  Wide wide(false);
  wide.world.Pass(10s);
  EXPECT_EQ(wide.child.stream->answers.size(), 1u);
  EXPECT_TRUE(wide.child.stream->more.empty());
}

TEST(Widening, APeerThatHasOnlyHelpersLeftGetsAParent) {
  Wide wide(true);
  wide.world.Pass(300ms);
  const World::Peer other = wide.world.Complete("other");
  ASSERT_TRUE(wide.world.shard.DeletePeer("task", "parent", wide.world.now));
  EXPECT_EQ(wide.child.stream->more.back(), "other");
}

TEST(Widening, IntroducesTheChildrenOfAPeerThatHasEverythingWithinTheirDataCentre) {
  World world;
  const World::Peer parent = world.Complete("parent");
  const auto child = [&](const std::string& id, const std::string& idc) {
    World::Peer peer(id);
    world.AddHost(peer.host).idc = idc;
    Registration registration = World::Download();
    registration.takes_more_parents = true;
    EXPECT_TRUE(world.Register(peer, std::move(registration)).ok());
    world.Begin(peer);
    return peer;
  };
  const World::Peer far = child("far", "a");
  const World::Peer near = child("near", "b");
  const World::Peer last = child("last", "b");
  // The last one has them as parents, if it has them.
  EXPECT_TRUE(last.stream->more.empty());
  EXPECT_EQ(near.stream->more, std::vector<std::string>{"last"});
  EXPECT_TRUE(far.stream->more.empty());
}

TEST(Widening, AHelperThatLeavesGivesItsSlotsBackAndIsForgotten) {
  Wide wide(true);
  wide.world.Pass(300ms);
  ASSERT_EQ(wide.world.Get(wide.child).helpers().size(), 1u);
  ASSERT_TRUE(wide.world.shard.DeletePeer("task", "below", wide.world.now));
  EXPECT_TRUE(wide.world.Get(wide.child).helpers().empty());
  EXPECT_EQ(wide.world.hosts.Find("host-below")->upload_slots(), 0);
}

}  // namespace
}  // namespace dragonfly::scheduler
