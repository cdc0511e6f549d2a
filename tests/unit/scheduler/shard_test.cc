// SPDX-License-Identifier: Apache-2.0
#include "scheduler/shard.h"

#include <algorithm>

#include "tests/unit/scheduler/world.h"

namespace dragonfly::scheduler {
namespace {

using namespace std::chrono_literals;
using testing::World;

TEST(Shard, RefusesAnUnknownHostAndLeavesNothingBehind) {
  World world;
  World::Peer peer("p");
  Registration registration = World::Download();
  registration.stream = peer.stream;
  const absl::Status status = world.shard.Register(peer.address(), std::move(registration), world.now);
  EXPECT_EQ(status.code(), absl::StatusCode::kNotFound);
  EXPECT_EQ(status.message(), "host host-p not found");
  EXPECT_EQ(world.shard.task_count(), 0u);
  EXPECT_EQ(world.shard.peer_count(), 0u);
}

TEST(Shard, EveryMessageOfAnUnknownPeerIsNotFound) {
  World world;
  World::Peer peer("p");
  for (const absl::Status& status :
       {world.shard.Started(peer.address(), world.now), world.shard.BackToSourceStarted(peer.address(), world.now),
        world.shard.Reschedule(peer.address(), {}, world.now),
        world.shard.Finished(peer.address(), Origin::kPeers, 1, 1, world.now),
        world.shard.Failed(peer.address(), Origin::kSource, world.now),
        world.shard.PieceFinished(peer.address(), Origin::kPeers, PieceReport(), world.now).status(),
        world.shard.PieceFailed(peer.address(), "x", true, world.now),
        world.shard.PieceFromSourceFailed(peer.address(), world.now)}) {
    EXPECT_EQ(status.code(), absl::StatusCode::kNotFound);
    EXPECT_EQ(status.message(), "peer p not found");
  }
}

TEST(Shard, AnswersEmptyOnlyForALengthThatWasStated) {
  World world;
  World::Peer stated("stated");
  ASSERT_TRUE(world.Register(stated, World::Download(0)).ok());
  ASSERT_EQ(stated.stream->answers.size(), 1u);
  EXPECT_EQ(stated.stream->answers[0].kind, testing::FakeStream::Kind::kEmpty);
  EXPECT_EQ(world.StateOf(stated), PeerState::kReceivedEmpty);
  world.Begin(stated);
  ASSERT_TRUE(world.shard.Finished(stated.address(), Origin::kPeers, 0, 0, world.now).ok());

  World::Peer silent("silent");
  silent.task = "other";
  ASSERT_TRUE(world.Register(silent, World::Download(std::nullopt)).ok());
  EXPECT_TRUE(silent.stream->sent_to_source());
  world.Begin(silent);
  ASSERT_TRUE(world.shard.Finished(silent.address(), Origin::kSource, 0, 0, world.now).ok());
  EXPECT_FALSE(world.shard.FindTask("other")->content_length().has_value()) << "0 in a finished message is no length";
}

TEST(Shard, FinishedFromTheOriginMakesTheTaskSucceedUnlessItWasARange) {
  World world;
  World::Peer part("part");
  Registration registration = World::Download(std::nullopt);
  registration.range = RequestedRange{0, 100};
  ASSERT_TRUE(world.Register(part, registration).ok());
  world.Begin(part);
  ASSERT_TRUE(world.shard.Finished(part.address(), Origin::kSource, 100, 1, world.now).ok());
  EXPECT_EQ(world.shard.FindTask("task")->state(), TaskState::kRunning);
  EXPECT_FALSE(world.shard.FindTask("task")->content_length().has_value());

  World::Peer whole("whole");
  Registration all = World::Download(std::nullopt);
  all.need_back_to_source = true;
  ASSERT_TRUE(world.Register(whole, all).ok());
  world.Begin(whole);
  ASSERT_TRUE(world.shard.Finished(whole.address(), Origin::kSource, 41 << 20, 11, world.now).ok());
  EXPECT_EQ(world.shard.FindTask("task")->state(), TaskState::kSucceeded);
  EXPECT_EQ(world.shard.FindTask("task")->content_length(), uint64_t{41} << 20);
}

TEST(Shard, AFailedReaderOfTheOriginResetsTheTaskOnlyWhenNobodyHoldsAnything) {
  World world;
  World::Peer alone("alone");
  ASSERT_TRUE(world.Register(alone).ok());
  world.Begin(alone);
  ASSERT_TRUE(world.shard.Failed(alone.address(), Origin::kSource, world.now).ok());
  EXPECT_EQ(world.shard.FindTask("task")->state(), TaskState::kFailed);
  EXPECT_FALSE(world.shard.FindTask("task")->content_length().has_value());

  const World::Peer complete = world.Complete("complete");
  World::Peer second("second");
  Registration registration = World::Download();
  registration.need_back_to_source = true;
  ASSERT_TRUE(world.Register(second, registration).ok());
  world.Begin(second);
  ASSERT_TRUE(world.shard.Failed(second.address(), Origin::kSource, world.now).ok());
  EXPECT_TRUE(world.shard.FindTask("task")->content_length().has_value());
  EXPECT_NE(world.shard.FindTask("task")->state(), TaskState::kFailed);
}

TEST(Shard, RescheduleBlocksTheTriedParents) {
  World world;
  const World::Peer a = world.Complete("a");
  World::Peer child("child");
  ASSERT_TRUE(world.Register(child).ok());
  EXPECT_THAT(child.stream->parents(), ::testing::ElementsAre("a"));
  world.Begin(child);
  const World::Peer b = world.Complete("b");
  world.Reschedule(child);
  EXPECT_THAT(child.stream->parents(), ::testing::ElementsAre("b"));
  EXPECT_EQ(world.Get(a).host().upload_slots(), 0);
  EXPECT_EQ(world.Get(b).host().upload_slots(), 1);
}

TEST(Shard, ATemporarilyFailedPieceBlocksItsParent) {
  World world;
  const World::Peer a = world.Complete("a");
  World::Peer child("child");
  ASSERT_TRUE(world.Register(child).ok());
  EXPECT_EQ(world.shard.PieceFailed(child.address(), "a", false, world.now).message(), "download piece failed");
  EXPECT_FALSE(world.Get(child).Blocks("a"));
  EXPECT_TRUE(world.shard.PieceFailed(child.address(), "a", true, world.now).ok());
  EXPECT_TRUE(world.Get(child).Blocks("a"));
  EXPECT_EQ(world.Get(a).host().UploadSuccess(), 0);
}

TEST(Shard, ANewStreamOfTheSamePeerTakesTheAnswers) {
  World world;
  world.AddHost("seed", true);
  World::Peer peer("p");
  ASSERT_TRUE(world.Register(peer).ok());
  const auto old_stream = peer.stream;
  peer.stream = std::make_shared<testing::FakeStream>();
  ASSERT_TRUE(world.Register(peer).ok());
  ASSERT_TRUE(old_stream->finished.has_value());
  EXPECT_EQ(old_stream->finished->code(), absl::StatusCode::kAborted);
  EXPECT_EQ(world.shard.peer_count(), 1u);
  world.shard.StreamEnded(peer.address(), old_stream.get(), world.now);
  EXPECT_FALSE(world.Get(peer).lost()) << "the end of the old stream is no loss";
  const World::Peer parent = world.Complete("parent");
  EXPECT_TRUE(old_stream->answers.empty());
  EXPECT_TRUE(peer.stream->has_parents());
}

TEST(Shard, APeerThatComesBackInTimeKeepsItsPieces) {
  World world;
  const World::Peer parent = world.Complete("parent");
  World::Peer peer("p");
  ASSERT_TRUE(world.Register(peer).ok());
  world.Begin(peer);
  world.PieceFromParent(peer, parent, 0);
  world.shard.StreamEnded(peer.address(), peer.stream.get(), world.now);
  EXPECT_TRUE(world.Get(peer).lost());
  world.Pass(4s);
  peer.stream = std::make_shared<testing::FakeStream>();
  ASSERT_TRUE(world.Register(peer).ok());
  EXPECT_EQ(world.Get(peer).pieces.count(), 1u);
  world.Pass(10s);
  EXPECT_EQ(world.StateOf(peer), PeerState::kReceivedNormal);
}

TEST(Shard, ABrokenStreamFailsThePeerAfterTheGraceAndFreesItsEdges) {
  World world;
  const World::Peer parent = world.Complete("parent");
  World::Peer peer("p");
  ASSERT_TRUE(world.Register(peer).ok());
  world.Begin(peer);
  EXPECT_EQ(world.Get(parent).host().upload_slots(), 1);
  world.shard.StreamEnded(peer.address(), peer.stream.get(), world.now);
  world.Pass(4999ms);
  EXPECT_EQ(world.StateOf(peer), PeerState::kRunning);
  world.Pass(2ms);
  EXPECT_EQ(world.StateOf(peer), PeerState::kFailed);
  EXPECT_EQ(world.Get(parent).host().upload_slots(), 0);
}

TEST(Shard, TheEndOfTheStreamAfterTheLastWordIsNoLoss) {
  World world;
  const World::Peer parent = world.Complete("parent");
  world.shard.StreamEnded(parent.address(), parent.stream.get(), world.now);
  EXPECT_FALSE(world.Get(parent).lost());
}

TEST(Shard, RefusesPieceNumbersThatCannotExist) {
  World world;
  World::Peer peer("p");
  ASSERT_TRUE(world.Register(peer).ok());
  world.Begin(peer);
  for (const uint32_t number : {10u, kPieceCountMax, 0x7fffffffu, 0xffffffffu}) {
    PieceReport piece;
    piece.number = PieceNumber(number);
    EXPECT_EQ(world.shard.PieceFinished(peer.address(), Origin::kSource, piece, world.now).status().code(),
              absl::StatusCode::kInvalidArgument)
        << number;
  }
  EXPECT_EQ(world.Get(peer).pieces.memory(), 0u);
}

TEST(Shard, StartedTwiceIsFineAndOutOfTurnFailsThePeer) {
  World world;
  const World::Peer parent = world.Complete("parent");
  World::Peer peer("p");
  ASSERT_TRUE(world.Register(peer).ok());
  world.Begin(peer);
  world.Begin(peer);
  const absl::Status status = world.shard.Started(parent.address(), world.now);
  EXPECT_EQ(status.code(), absl::StatusCode::kInternal);
  EXPECT_EQ(status.message(), "event Download inappropriate in current state Succeeded");
  EXPECT_EQ(world.StateOf(parent), PeerState::kFailed);
}

TEST(Shard, APeerThatTurnsToTheOriginFreesItsParents) {
  World world;
  const World::Peer parent = world.Complete("parent");
  World::Peer peer("p");
  ASSERT_TRUE(world.Register(peer).ok());
  world.Begin(peer);
  EXPECT_EQ(world.Get(parent).host().upload_slots(), 1);
  ASSERT_TRUE(world.shard.BackToSourceStarted(peer.address(), world.now).ok());
  EXPECT_EQ(world.StateOf(peer), PeerState::kBackToSource);
  EXPECT_EQ(world.Get(parent).host().upload_slots(), 0);
}

TEST(Shard, MetadataOnlyPeersBecomeParentsWithoutDownloading) {
  World world;
  world.AddHost("seed", true);
  World::Peer waiter("waiter");
  ASSERT_TRUE(world.Register(waiter).ok());
  World::Peer holder("holder");
  Registration registration = World::Download();
  registration.metadata_only = true;
  ASSERT_TRUE(world.Register(holder, registration).ok());
  EXPECT_EQ(holder.stream->answers.at(0).kind, testing::FakeStream::Kind::kMetadataOnly);
  EXPECT_TRUE(waiter.stream->answers.empty());
  world.Begin(holder);
  world.Finish(holder, Origin::kPeers);
  EXPECT_THAT(waiter.stream->parents(), ::testing::ElementsAre("holder"));
}

TEST(Shard, DeletingAHostRemovesItsPeersAtOnceAndEndsItsWaiters) {
  World world;
  world.AddHost("seed", true);
  World::Peer a("a"), b("b");
  a.host = b.host = "shared";
  b.task = "other";
  ASSERT_TRUE(world.Register(a).ok());
  ASSERT_TRUE(world.Register(b).ok());
  world.hosts.Remove("shared");
  world.shard.DeleteHost("shared", world.now);
  EXPECT_EQ(world.shard.peer_count(), 0u);
  EXPECT_TRUE(a.stream->finished.has_value());
  EXPECT_EQ(world.Register(a).code(), absl::StatusCode::kOk) << "announced again by the test";
}

TEST(Shard, AHostWithVeryManyPeersIsRemovedInSteps) {
  World world;
  constexpr size_t kPeers = 2000;
  for (size_t i = 0; i < kPeers; ++i) {
    World::Peer peer("p" + std::to_string(i));
    peer.host = "crowded";
    peer.task = "task-" + std::to_string(i);
    ASSERT_TRUE(world.Register(peer).ok());
  }
  world.hosts.Remove("crowded");
  world.shard.DeleteHost("crowded", world.now);
  const size_t left = world.shard.peer_count();
  EXPECT_LT(left, kPeers);
  EXPECT_GT(left, 0u) << "in one step";
  EXPECT_LE(world.shard.NextDeadline(), world.now);
  // It comes back before the last of its peers have gone.
  World::Peer returned("returned");
  returned.host = "crowded";
  ASSERT_TRUE(world.Register(returned).ok());
  world.Pass(0ms);
  EXPECT_EQ(world.shard.peer_count(), 1u);
  EXPECT_NE(world.shard.FindPeer("task", "returned"), nullptr);
  EXPECT_TRUE(world.shard.CollectTasks(2 * kPeers));
  EXPECT_EQ(world.shard.task_count(), 1u);
}

TEST(Shard, AThousandBrokenStreamsFailInSteps) {
  World world;
  constexpr size_t kPeers = 1000;
  std::vector<World::Peer> peers;
  for (size_t i = 0; i < kPeers; ++i) {
    World::Peer& peer = peers.emplace_back("p" + std::to_string(i));
    peer.task = "task-" + std::to_string(i);
    ASSERT_TRUE(world.Register(peer).ok());
    world.shard.StreamEnded(peer.address(), peer.stream.get(), world.now);
  }
  world.now += 6s;
  world.shard.Tick(world.now);
  const auto failed = [&] {
    return std::count_if(peers.begin(), peers.end(),
                         [&](const World::Peer& peer) { return world.StateOf(peer) == PeerState::kFailed; });
  };
  EXPECT_GT(failed(), 0);
  EXPECT_LT(failed(), static_cast<int64_t>(kPeers));
  EXPECT_LE(world.shard.NextDeadline(), world.now);
  world.Pass(0ms);
  EXPECT_EQ(failed(), static_cast<int64_t>(kPeers));
}

TEST(Shard, DeletingATaskRemovesOnlyThatHostsPeersOfIt) {
  World world;
  const World::Peer a = world.Complete("a");
  const World::Peer b = world.Complete("b");
  world.shard.DeleteTask(a.host, "task", world.now);
  EXPECT_EQ(world.shard.FindPeer("task", "a"), nullptr);
  EXPECT_NE(world.shard.FindPeer("task", "b"), nullptr);
  EXPECT_TRUE(world.shard.DeletePeer("task", "b", world.now));
  EXPECT_FALSE(world.shard.DeletePeer("task", "b", world.now));
}

TEST(Shard, DisableSharedExcludesFromParentsAndKillsNoDownload) {
  World world;
  const World::Peer parent = world.Complete("parent");
  World::Peer peer("p");
  ASSERT_TRUE(world.Register(peer).ok());
  world.Begin(peer);
  for (const World::Peer* p : {&parent, static_cast<const World::Peer*>(&peer)}) {
    auto facts = testing::MakeFacts(p->host);
    facts->disable_shared = true;
    world.AnnounceHost(facts);
  }
  EXPECT_TRUE(world.shard.CollectPeers(world.now, 100));
  EXPECT_EQ(world.StateOf(peer), PeerState::kRunning);
  World::Peer other("other");
  ASSERT_TRUE(world.Register(other).ok());
  EXPECT_FALSE(other.stream->has_parents());
}

class Collection : public ::testing::Test {
 protected:
  void Collect() {
    while (!world_.shard.CollectPeers(world_.now, 7)) {
    }
  }
  // Hosts that go on announcing themselves.
  void PassAlive(Clock::duration duration) {
    world_.Pass(duration);
    for (const auto& host : world_.hosts.List()) host->Touch(world_.now);
  }
  World world_;
};

TEST_F(Collection, RemovesFailedPeers) {
  World::Peer peer("p");
  ASSERT_TRUE(world_.Register(peer).ok());
  ASSERT_TRUE(world_.shard.Failed(peer.address(), Origin::kPeers, world_.now).ok());
  Collect();
  EXPECT_EQ(world_.shard.peer_count(), 0u);
  EXPECT_TRUE(world_.shard.CollectTasks(100));
  EXPECT_EQ(world_.shard.task_count(), 0u);
}

TEST_F(Collection, RemovesEmptyTasksInSteps) {
  constexpr size_t kTasks = 25;
  for (size_t i = 0; i < kTasks; ++i) {
    World::Peer peer("p" + std::to_string(i));
    peer.task = "task-" + std::to_string(i);
    ASSERT_TRUE(world_.Register(peer).ok());
    ASSERT_TRUE(world_.shard.Failed(peer.address(), Origin::kPeers, world_.now).ok());
  }
  Collect();
  EXPECT_FALSE(world_.shard.CollectTasks(10));
  EXPECT_EQ(world_.shard.task_count(), kTasks - 10);
  // A task that is used again meanwhile stays.
  World::Peer again("again");
  again.task = world_.shard.FindTask("task-24") != nullptr ? "task-24" : "task-new";
  ASSERT_TRUE(world_.Register(again).ok());
  while (!world_.shard.CollectTasks(10)) {
  }
  EXPECT_EQ(world_.shard.task_count(), 1u);
  EXPECT_NE(world_.shard.FindPeer(again.task, "again"), nullptr);
}

TEST_F(Collection, ATaskWhoseSeedWorksStaysUntilTheSeedHasEnded) {
  world_.AddHost("seed", true);
  World::Peer peer("p");
  ASSERT_TRUE(world_.Register(peer).ok());
  ASSERT_EQ(world_.seeds.requests.size(), 1u);
  ASSERT_TRUE(world_.shard.DeletePeer("task", "p", world_.now));
  EXPECT_TRUE(world_.shard.CollectTasks(100));
  EXPECT_EQ(world_.shard.task_count(), 1u);
  world_.shard.SeedEnded("task", world_.seeds.requests[0].trigger_id, absl::OkStatus(), std::nullopt, world_.now);
  EXPECT_TRUE(world_.shard.CollectTasks(100));
  EXPECT_EQ(world_.shard.task_count(), 0u);
}

TEST_F(Collection, RemovesDownloadsWithoutAPieceForHalfAnHour) {
  World::Peer peer("p");
  ASSERT_TRUE(world_.Register(peer).ok());
  world_.Begin(peer);
  PassAlive(29min);
  Collect();
  EXPECT_EQ(world_.shard.peer_count(), 1u);
  world_.PieceFromSource(peer, 0);
  PassAlive(30min);
  Collect();
  EXPECT_EQ(world_.shard.peer_count(), 1u);
  PassAlive(1s);
  Collect();
  EXPECT_EQ(world_.shard.peer_count(), 0u);
}

TEST_F(Collection, RemovesPeersAfterTheirTimeToLive) {
  world_.Complete("p");
  PassAlive(24h);
  Collect();
  EXPECT_EQ(world_.shard.peer_count(), 1u);
  PassAlive(1s);
  Collect();
  EXPECT_EQ(world_.shard.peer_count(), 0u);
}

TEST_F(Collection, RemovesPeersOfSilentHosts) {
  world_.Complete("p");
  world_.Pass(1h + 1s);
  Collect();
  EXPECT_EQ(world_.shard.peer_count(), 0u);
}

TEST_F(Collection, ForgetsIdlePeersBeyondThreeHundredOfATask) {
  for (int i = 0; i < 350; ++i) world_.Complete("p" + std::to_string(i));
  Collect();
  EXPECT_EQ(world_.shard.peer_count(), 300u);
}

TEST_F(Collection, LeavesTheRestForTheNextStep) {
  for (int i = 0; i < 20; ++i) {
    World::Peer peer("p" + std::to_string(i));
    ASSERT_TRUE(world_.Register(peer).ok());
    ASSERT_TRUE(world_.shard.Failed(peer.address(), Origin::kPeers, world_.now).ok());
  }
  EXPECT_FALSE(world_.shard.CollectPeers(world_.now, 7));
  EXPECT_EQ(world_.shard.peer_count(), 13u);
  EXPECT_FALSE(world_.shard.CollectPeers(world_.now, 7));
  EXPECT_TRUE(world_.shard.CollectPeers(world_.now, 7));
  EXPECT_EQ(world_.shard.peer_count(), 0u);
}

}  // namespace
}  // namespace dragonfly::scheduler
