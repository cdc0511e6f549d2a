// SPDX-License-Identifier: Apache-2.0
#include "scheduler/parent_finder.h"

#include <map>

#include "tests/unit/scheduler/world.h"

namespace dragonfly::scheduler {
namespace {

using namespace std::chrono_literals;
using ::testing::IsEmpty;
using testing::MakeFacts;

constexpr TimePoint kNow = TimePoint{} + 1h;

// A task whose peers are put into their states directly.
class ParentFinderTest : public ::testing::Test {
 protected:
  ParentFinderTest() : evaluator_(*MakeEvaluator("default")), task_("t", TaskAbout(), kNow) {
    task_.LearnContentLength(40 << 20);
    task_.LearnPieceLength(4 << 20);
  }

  HostFacts& Facts(Peer& peer) { return const_cast<HostFacts&>(*peer.slot().facts); }

  Peer& Add(const std::string& id, PeerState state, bool seed = false) {
    slots_.push_back(std::make_unique<HostSlot>());
    HostSlot& slot = *slots_.back();
    slot.facts = MakeFacts("host-" + id, seed);
    slot.host = std::make_shared<Host>(slot.facts, kNow);
    Peer& peer = task_.Add(id, slot, kNow);
    const auto fire = [&](PeerEvent event) { ASSERT_TRUE(task_.Fire(peer, event, kNow).ok()); };
    if (state == PeerState::kPending) return peer;
    fire(PeerEvent::kRegisterNormal);
    if (state == PeerState::kRunning) fire(PeerEvent::kDownload);
    if (state == PeerState::kBackToSource) fire(PeerEvent::kDownloadBackToSource);
    if (state == PeerState::kSucceeded) fire(PeerEvent::kDownloadSucceeded);
    if (state == PeerState::kFailed) fire(PeerEvent::kDownloadFailed);
    return peer;
  }

  Refusal Test(Peer& parent, Peer& child, ParentLimits limits = {}) {
    ParentFinder finder(*evaluator_, limits);
    finder.Prepare(child);
    return finder.Test(parent, child, kNow);
  }
  std::vector<Peer*> Find(Peer& child, ParentLimits limits = {}) {
    ParentFinder finder(*evaluator_, limits);
    return finder.Find(child, kNow);
  }

  std::unique_ptr<Evaluator> evaluator_;
  std::vector<std::unique_ptr<HostSlot>> slots_;
  Task task_;
};

TEST_F(ParentFinderTest, TakesAPeerThatReadsTheOriginBeforeItsFirstPiece) {
  Peer& parent = Add("parent", PeerState::kBackToSource);
  Peer& child = Add("child", PeerState::kReceivedNormal);
  EXPECT_EQ(Test(parent, child), Refusal::kNone);
  EXPECT_THAT(Find(child), ::testing::ElementsAre(&parent));
}

TEST_F(ParentFinderTest, RefusesTheChildItselfAndBlockedParents) {
  Peer& parent = Add("parent", PeerState::kSucceeded);
  Peer& child = Add("child", PeerState::kRunning);
  EXPECT_EQ(Test(child, child), Refusal::kBlocked);
  child.Block("parent");
  EXPECT_EQ(Test(parent, child), Refusal::kBlocked);
}

TEST_F(ParentFinderTest, RefusesHostsThatDoNotShare) {
  Peer& parent = Add("parent", PeerState::kSucceeded);
  Peer& child = Add("child", PeerState::kReceivedNormal);
  Facts(parent).disable_shared = true;
  EXPECT_EQ(Test(parent, child), Refusal::kNotShared);
}

TEST_F(ParentFinderTest, RefusesTheChildsOwnHost) {
  Peer& child = Add("child", PeerState::kReceivedNormal);
  Peer& sibling = task_.Add("sibling", child.slot(), kNow);
  ASSERT_TRUE(task_.Fire(sibling, PeerEvent::kRegisterNormal, kNow).ok());
  ASSERT_TRUE(task_.Fire(sibling, PeerEvent::kDownloadSucceeded, kNow).ok());
  EXPECT_EQ(Test(sibling, child), Refusal::kSameHost);
}

TEST_F(ParentFinderTest, RefusesPeersWithABrokenStream) {
  Peer& parent = Add("parent", PeerState::kBackToSource);
  Peer& child = Add("child", PeerState::kReceivedNormal);
  task_.SetLost(parent, kNow);
  EXPECT_EQ(Test(parent, child), Refusal::kLost);
  EXPECT_THAT(Find(child), IsEmpty());
}

TEST_F(ParentFinderTest, RefusesNormalPeersThatGetNothing) {
  Peer& source = Add("source", PeerState::kBackToSource);
  Peer& running = Add("running", PeerState::kRunning);
  Peer& seed = Add("seed", PeerState::kRunning, /*seed=*/true);
  Peer& child = Add("child", PeerState::kReceivedNormal);
  EXPECT_EQ(Test(running, child), Refusal::kNothingToGive);
  EXPECT_EQ(Test(seed, child), Refusal::kNone);
  ASSERT_TRUE(task_.Connect(source, running));
  EXPECT_EQ(Test(running, child), Refusal::kNone);
  task_.SetLost(source, kNow);
  EXPECT_EQ(Test(running, child), Refusal::kNothingToGive) << "its only parent has broken off";
}

TEST_F(ParentFinderTest, PrefersEverybodyToASlowParentAndASlowParentToNobody) {
  Peer& slow = Add("slow", PeerState::kSucceeded);
  Peer& child = Add("child", PeerState::kReceivedNormal);
  slow.costs.Add(10ms);
  slow.costs.Add(10s);
  slow.costs_at = kNow;
  EXPECT_EQ(Test(slow, child), Refusal::kSlow);
  EXPECT_THAT(Find(child), ::testing::ElementsAre(&slow));
  Peer& other = Add("other", PeerState::kSucceeded);
  EXPECT_THAT(Find(child), ::testing::ElementsAre(&other));
}

TEST_F(ParentFinderTest, RefusesHostsWithoutAFreeSlot) {
  Peer& parent = Add("parent", PeerState::kSucceeded);
  Peer& child = Add("child", PeerState::kReceivedNormal);
  Facts(parent).upload_limit = 1;
  ASSERT_TRUE(parent.host().TakeUploadSlot(1));
  EXPECT_EQ(Test(parent, child), Refusal::kNoSlot);
}

TEST_F(ParentFinderTest, RefusesAnEdgeThatExistsAndACircle) {
  Peer& a = Add("a", PeerState::kSucceeded);
  Peer& b = Add("b", PeerState::kRunning);
  Peer& c = Add("c", PeerState::kRunning);
  ASSERT_TRUE(task_.Connect(a, b));
  ASSERT_TRUE(task_.Connect(b, c));
  EXPECT_EQ(Test(a, b), Refusal::kEdge);
  EXPECT_EQ(Test(c, b), Refusal::kCircle);
}

TEST_F(ParentFinderTest, NeedsTheLengthUnlessTheChildFindsItOutItself) {
  Task unknown("t", TaskAbout(), kNow);
  HostSlot parent_slot, child_slot;
  parent_slot.facts = MakeFacts("p");
  parent_slot.host = std::make_shared<Host>(parent_slot.facts, kNow);
  auto child_facts = MakeFacts("c");
  child_slot.facts = child_facts;
  child_slot.host = std::make_shared<Host>(child_slot.facts, kNow);
  Peer& parent = unknown.Add("parent", parent_slot, kNow);
  Peer& child = unknown.Add("child", child_slot, kNow);
  for (Peer* peer : {&parent, &child}) ASSERT_TRUE(unknown.Fire(*peer, PeerEvent::kRegisterNormal, kNow).ok());
  ASSERT_TRUE(unknown.Fire(parent, PeerEvent::kDownloadBackToSource, kNow).ok());
  EXPECT_EQ(Test(parent, child), Refusal::kLength);
  EXPECT_THAT(Find(child), IsEmpty());
  child_facts->knows_length = true;
  EXPECT_EQ(Test(parent, child), Refusal::kNone);
  child_facts->knows_length = false;
  unknown.LearnContentLength(1);
  EXPECT_EQ(Test(parent, child), Refusal::kNone);
}

TEST_F(ParentFinderTest, FindsNothingForAChildInAnyOtherState) {
  Add("parent", PeerState::kSucceeded);
  for (const PeerState state :
       {PeerState::kPending, PeerState::kBackToSource, PeerState::kSucceeded, PeerState::kFailed}) {
    EXPECT_THAT(Find(Add(std::string(Name(state)), state)), IsEmpty()) << Name(state);
  }
}

TEST_F(ParentFinderTest, ReturnsTheBestInOrder) {
  for (int i = 0; i < 8; ++i) {
    Peer& parent = Add("parent-" + std::to_string(i), PeerState::kBackToSource);
    for (int piece = 0; piece < i; ++piece) parent.pieces.Insert(PieceNumber(static_cast<uint32_t>(piece)));
  }
  Peer& child = Add("child", PeerState::kReceivedNormal);
  const std::vector<Peer*> found = Find(child);
  ASSERT_EQ(found.size(), 4u);
  for (size_t i = 0; i < 4; ++i) EXPECT_EQ(found[i]->id(), "parent-" + std::to_string(7 - i));
}

TEST_F(ParentFinderTest, IneligiblePeersDoNotUseUpTheSample) {
  Peer& child = Add("child", PeerState::kReceivedNormal);
  for (int i = 0; i < 200; ++i) child.Block(Add("blocked-" + std::to_string(i), PeerState::kSucceeded).id());
  Peer& good = Add("good", PeerState::kSucceeded);
  for (int round = 0; round < 20; ++round) EXPECT_THAT(Find(child), ::testing::ElementsAre(&good));
}

TEST_F(ParentFinderTest, SamplesAllParentsAlike) {
  Peer& child = Add("child", PeerState::kReceivedNormal);
  for (int i = 0; i < 100; ++i) Add("parent-" + std::to_string(i), PeerState::kSucceeded);
  ParentFinder finder(*evaluator_, ParentLimits{.candidates = 4, .sample = 15});
  std::map<Peer*, int> hits;
  for (int round = 0; round < 2500; ++round) {
    for (Peer* parent : finder.Find(child, kNow)) ++hits[parent];
  }
  ASSERT_EQ(hits.size(), 100u);
  for (const auto& [peer, count] : hits) {
    EXPECT_GT(count, 50) << peer->id();
    EXPECT_LT(count, 160) << peer->id();
  }
}

}  // namespace
}  // namespace dragonfly::scheduler
