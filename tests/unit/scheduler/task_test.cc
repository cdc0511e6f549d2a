// SPDX-License-Identifier: Apache-2.0
#include "scheduler/task.h"

#include "tests/unit/scheduler/world.h"

namespace dragonfly::scheduler {
namespace {

using namespace std::chrono_literals;

constexpr TimePoint kNow = TimePoint{} + 1h;
constexpr uint64_t kMi = 1 << 20;

TEST(TaskContent, KnowsNothingUntilItIsTold) {
  Task task("t", TaskAbout(), kNow);
  EXPECT_FALSE(task.content_length().has_value());
  EXPECT_EQ(task.piece_count(), 0u);
  EXPECT_FALSE(task.Excludes(PieceNumber(kPieceCountMax - 1)));
  EXPECT_TRUE(task.Excludes(PieceNumber(kPieceCountMax)));
}

TEST(TaskContent, CountsPiecesFromTheLengthsRatherThanFromAClaim) {
  Task task("t", TaskAbout(), kNow);
  task.LearnPieceCount(3);
  EXPECT_EQ(task.piece_count(), 3u);
  task.LearnContentLength(41 * kMi);
  task.LearnPieceLength(4 * kMi);
  EXPECT_EQ(task.piece_count(), 11u);
  EXPECT_FALSE(task.Excludes(PieceNumber(10)));
  EXPECT_TRUE(task.Excludes(PieceNumber(11)));
}

TEST(TaskContent, LearnsThePieceLengthFromAPiecesPlace) {
  Task later("t", TaskAbout(), kNow);
  later.LearnFromPiece(PieceNumber(3), 24 * kMi, 8 * kMi);
  EXPECT_EQ(later.piece_length(), 8 * kMi);
  Task first("t", TaskAbout(), kNow);
  first.LearnFromPiece(PieceNumber(0), 0, 8 * kMi);
  EXPECT_EQ(first.piece_length(), 0u) << "the only piece may be short";
  first.LearnContentLength(9 * kMi);
  first.LearnFromPiece(PieceNumber(0), 0, 8 * kMi);
  EXPECT_EQ(first.piece_length(), 8 * kMi);
}

TEST(TaskContent, DoesNotBelieveInAnEmptyFileAgainstOtherEvidence) {
  Task task("t", TaskAbout(), kNow);
  task.LearnContentLength(kMi);
  task.LearnContentLength(0);
  EXPECT_EQ(task.content_length(), kMi);
  Task empty("t", TaskAbout(), kNow);
  empty.LearnContentLength(0);
  EXPECT_EQ(empty.content_length(), uint64_t{0});
  empty.LearnContentLength(kMi);
  EXPECT_EQ(empty.content_length(), kMi);
}

class TaskPeers : public ::testing::Test {
 protected:
  Peer& Add(const std::string& id) {
    slots_.push_back(std::make_unique<HostSlot>());
    HostSlot& slot = *slots_.back();
    slot.facts = testing::MakeFacts("host-" + id);
    slot.host = std::make_shared<Host>(slot.facts, kNow);
    return task_.Add(id, slot, kNow);
  }
  void Run(Peer& peer) {
    ASSERT_TRUE(task_.Fire(peer, PeerEvent::kRegisterNormal, kNow).ok());
    ASSERT_TRUE(task_.Fire(peer, PeerEvent::kDownload, kNow).ok());
  }
  std::vector<std::unique_ptr<HostSlot>> slots_;
  Task task_{"t", TaskAbout(), kNow};
};

TEST_F(TaskPeers, ListsPossibleParentsByState) {
  Peer& peer = Add("p");
  EXPECT_EQ(task_.parent_count(), 0u);
  Run(peer);
  EXPECT_EQ(task_.parent_count(), 1u);
  task_.SetLost(peer, kNow);
  EXPECT_EQ(task_.parent_count(), 0u);
  task_.SetLost(peer, std::nullopt);
  EXPECT_EQ(task_.parent_count(), 1u);
  ASSERT_TRUE(task_.Fire(peer, PeerEvent::kDownloadSucceeded, kNow).ok());
  EXPECT_EQ(task_.parent_count(), 1u);
  ASSERT_TRUE(task_.Fire(peer, PeerEvent::kDownloadFailed, kNow).ok());
  EXPECT_EQ(task_.parent_count(), 0u);
}

TEST_F(TaskPeers, GivesEverySlotBackWhateverEndsTheEdge) {
  Peer& parent = Add("parent");
  Peer& child = Add("child");
  Run(parent);
  const auto connect = [&] {
    ASSERT_TRUE(task_.Connect(parent, child));
    ASSERT_EQ(parent.host().upload_slots(), 1);
  };
  connect();
  task_.DropParents(child);
  EXPECT_EQ(parent.host().upload_slots(), 0);
  connect();
  task_.DropChildren(parent);
  EXPECT_EQ(parent.host().upload_slots(), 0);
  Run(child);
  connect();
  ASSERT_TRUE(task_.Fire(child, PeerEvent::kDownloadBackToSource, kNow).ok());
  EXPECT_EQ(parent.host().upload_slots(), 0);
  connect();
  ASSERT_TRUE(task_.Fire(child, PeerEvent::kDownloadSucceeded, kNow).ok());
  EXPECT_EQ(parent.host().upload_slots(), 0);
  connect();
  ASSERT_TRUE(task_.Fire(parent, PeerEvent::kDownloadFailed, kNow).ok());
  EXPECT_EQ(parent.host().upload_slots(), 0);
  connect();
  const std::shared_ptr<Host> host = parent.slot().host;
  task_.Remove(parent);
  EXPECT_EQ(host->upload_slots(), 0);
  EXPECT_TRUE(child.parents().empty());
}

TEST_F(TaskPeers, RefusesAnEdgeWithoutASlot) {
  Peer& parent = Add("parent");
  auto facts = testing::MakeFacts("host-parent");
  facts->upload_limit = 1;
  parent.slot().facts = facts;
  Peer& a = Add("a");
  Peer& b = Add("b");
  EXPECT_TRUE(task_.Connect(parent, a));
  EXPECT_FALSE(task_.Connect(parent, b));
  EXPECT_TRUE(b.parents().empty());
}

TEST_F(TaskPeers, CountsSourceWorkersFromTheWordToTheEnd) {
  Peer& peer = Add("p");
  ASSERT_TRUE(task_.Fire(peer, PeerEvent::kRegisterNormal, kNow).ok());
  task_.AddSource(peer, kNow);
  EXPECT_EQ(task_.sources().size(), 1u);
  ASSERT_TRUE(task_.Fire(peer, PeerEvent::kDownloadBackToSource, kNow).ok());
  EXPECT_EQ(task_.sources().size(), 1u);
  ASSERT_TRUE(task_.Fire(peer, PeerEvent::kDownloadSucceeded, kNow).ok());
  EXPECT_TRUE(task_.sources().empty());
}

TEST_F(TaskPeers, NamesNewParentsOnlyWhenSomebodyWaits) {
  Peer& quiet = Add("quiet");
  Run(quiet);
  EXPECT_FALSE(task_.has_news());
  Peer& waiter = Add("waiter");
  task_.waiters().Add(waiter, kNow);
  Peer& fresh = Add("fresh");
  Run(fresh);
  EXPECT_THAT(task_.TakeNews(), ::testing::ElementsAre(&fresh));
  ASSERT_TRUE(task_.Fire(fresh, PeerEvent::kDownloadSucceeded, kNow).ok());
  task_.Remove(fresh);
  EXPECT_FALSE(task_.has_news()) << "a removed peer is no news";
}

TEST(WaitList, KeepsTheOrderAndForgetsFromTheMiddle) {
  Task task("t", TaskAbout(), kNow);
  HostSlot slot;
  slot.facts = testing::MakeFacts("h");
  slot.host = std::make_shared<Host>(slot.facts, kNow);
  std::vector<Peer*> peers;
  for (const char* id : {"a", "b", "c"}) peers.push_back(&task.Add(id, slot, kNow));
  WaitList& list = task.waiters();
  for (Peer* peer : peers) list.Add(*peer, kNow);
  EXPECT_EQ(list.size(), 3u);
  list.Remove(*peers[1]);
  list.Remove(*peers[1]);
  EXPECT_EQ(list.first(), peers[0]);
  EXPECT_EQ(WaitList::Next(*peers[0]), peers[2]);
  list.Remove(*peers[0]);
  list.Remove(*peers[2]);
  EXPECT_TRUE(list.empty());
  EXPECT_EQ(list.size(), 0u);
}

TEST(PieceSet, CountsEachPieceOnceAndGrowsOnlyAsFarAsNeeded) {
  PieceSet set;
  EXPECT_EQ(set.memory(), 0u);
  EXPECT_TRUE(set.Insert(PieceNumber(5)));
  EXPECT_FALSE(set.Insert(PieceNumber(5)));
  EXPECT_TRUE(set.Insert(PieceNumber(1000)));
  EXPECT_TRUE(set.Contains(PieceNumber(5)));
  EXPECT_FALSE(set.Contains(PieceNumber(6)));
  EXPECT_FALSE(set.Contains(PieceNumber(100000)));
  EXPECT_EQ(set.count(), 2u);
  EXPECT_LE(set.memory(), 256u);
  set.Freeze();
  EXPECT_EQ(set.memory(), 0u);
  EXPECT_EQ(set.count(), 2u);
}

TEST(PeerBlockList, IsBounded) {
  Task task("t", TaskAbout(), kNow);
  HostSlot slot;
  slot.facts = testing::MakeFacts("h");
  slot.host = std::make_shared<Host>(slot.facts, kNow);
  Peer& peer = task.Add("p", slot, kNow);
  for (int i = 0; i < 1000; ++i) peer.Block("parent-" + std::to_string(i));
  EXPECT_TRUE(peer.Blocks("parent-999"));
  EXPECT_FALSE(peer.Blocks("parent-0"));
}

}  // namespace
}  // namespace dragonfly::scheduler
