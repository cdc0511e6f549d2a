// SPDX-License-Identifier: Apache-2.0
// How few requests a download costs its origin.
#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <pthread.h>

#include "base/backend_error.h"
#include "base/status.h"
#include "tests/unit/daemon/test_peer.h"

namespace dragonfly::daemon {
namespace {

using storage::TrafficType;
using Revalidate = DaemonConfig::Revalidate;

class OriginCost : public ::testing::Test {
 protected:
  common::v2::Download Wanting(const ScriptedOrigin& origin) const {
    common::v2::Download wire;
    wire.set_url(origin.Url());
    wire.set_piece_length(kTestPieceLength);
    return wire;
  }
  // What a scheduler asks of a seed.
  common::v2::Download Seeding(const ScriptedOrigin& origin) const {
    common::v2::Download wire = Wanting(origin);
    wire.set_need_back_to_source(true);
    return wire;
  }
  void ExpectWhole(TestPeer& peer, const ScriptedOrigin& origin) {
    EXPECT_EQ(peer.BytesOf(*TaskManager::IdOf(Wanting(origin))), origin.content());
    EXPECT_LE(origin.reads_of_any_byte(), 1);
  }

  runtime::IoThreads io_{2};
  TestPeer peer_{io_, "peer"};
};

TEST_F(OriginCost, ASeedReadsASmallFileWithOneRequest) {
  for (const size_t size : {size_t{0}, size_t{1}, size_t{kTestPieceLength}}) {
    ScriptedOrigin origin(TestContent(size));
    RecordingObserver observer;
    const absl::Status status = peer_.Download(Seeding(origin), observer);
    ASSERT_TRUE(status.ok()) << size << ": " << status;
    ExpectWhole(peer_, origin);
    EXPECT_EQ(observer.started->content_length, size);
    EXPECT_EQ(observer.started->response_header.count("content-range"), 0u);
    EXPECT_EQ(observer.BytesFrom(TrafficType::kBackToSource), size);
    EXPECT_EQ(origin.stats(), 0) << size;
    EXPECT_EQ(origin.reads(), 1) << size;
  }
  EXPECT_TRUE(peer_.link.Await("finished 0 0")) << "who waits for the empty file must learn of it";
  EXPECT_TRUE(peer_.link.Await("back to source finished 1 1"));
  EXPECT_TRUE(peer_.link.Await("back to source finished 1 65536"));
  EXPECT_EQ(peer_.link.CountOf("piece 0 from origin"), 2);
}

TEST_F(OriginCost, ASeedReadsTheRestOfALargeFileMeanwhile) {
  ScriptedOrigin origin(TestContent(40 * kTestPieceLength + 7));
  ASSERT_TRUE(peer_.Download(Seeding(origin)).ok());
  ExpectWhole(peer_, origin);
  EXPECT_EQ(origin.stats(), 0);
  EXPECT_EQ(origin.bytes_read(), origin.content().size());
  EXPECT_TRUE(peer_.link.Await("back to source finished 41 "));
  for (int piece = 0; piece < 41; ++piece) {
    EXPECT_EQ(peer_.link.CountOf("piece " + std::to_string(piece) + " from origin"), 1) << piece;
  }
}

TEST_F(OriginCost, TheBodyOfAnOriginWithoutRangesIsReadOnce) {
  for (const bool tells_length : {true, false}) {
    ScriptedOrigin::Behaviour behaviour;
    behaviour.takes_ranges = false;
    behaviour.tells_length = tells_length;
    ScriptedOrigin origin(TestContent(5 * kTestPieceLength + 1), behaviour);
    const absl::Status status = peer_.Download(Seeding(origin));
    ASSERT_TRUE(status.ok()) << status;
    ExpectWhole(peer_, origin);
    EXPECT_EQ(origin.stats() + origin.reads(), 1);
  }
}

TEST_F(OriginCost, WhoWaitsForWhatAPrefetchHasBegunDoesNotWaitForItsBandwidth) {
  constexpr uint64_t kLength = 40 * kTestPieceLength;
  ScriptedOrigin::Behaviour one_body;
  one_body.takes_ranges = one_body.stat_takes_ranges = false;
  ScriptedOrigin origin(TestContent(kLength), one_body);
  origin.HoldFrom(kTestPieceLength);
  auto prefetch = Seeding(origin);
  prefetch.set_is_prefetch(true);
  RecordingObserver nobody;
  auto prefetched = peer_.Begin(prefetch, nobody);
  ASSERT_TRUE(origin.AwaitHeld());
  RecordingObserver observer;
  auto awaited = peer_.Begin(Seeding(origin), observer);
  ASSERT_TRUE(observer.AwaitStarted());
  origin.Release();
  ASSERT_TRUE(awaited.get().ok());
  ASSERT_TRUE(prefetched.get().ok());
  peer_.Stop();
  constexpr uint64_t kOfPrefetch = 2 * kTestPieceLength;
  EXPECT_NE(peer_.prefetch_bucket.ReserveWithin((1 << 30) - kOfPrefetch, Clock::now(), Clock::duration::zero()),
            std::nullopt)
      << "the body counted against the bandwidth of prefetches to its end";
  EXPECT_EQ(origin.reads_of_any_byte(), 1);
}

// The same threads move everybody's bytes.
TEST_F(OriginCost, RoomIsNotMadeOnAnIoThread) {
  constexpr uint64_t kLength = 4 * kTestPieceLength;
  TestPeer::Options options;
  options.capacity_bytes = kLength + kTestPieceLength;
  TestPeer full(io_, "full", options);
  std::vector<std::string> threads;
  std::optional<TaskId> last;
  full.store().SetRoomMaker([&](const TaskId&, uint64_t) -> uint64_t {
    char name[16] = {};
    ::pthread_getname_np(::pthread_self(), name, sizeof(name));
    threads.emplace_back(name);
    return full.store().Delete(*last).ok() ? kLength : 0;
  });
  ScriptedOrigin first(TestContent(kLength, 1));
  ScriptedOrigin asked(TestContent(kLength, 2));
  ScriptedOrigin opened(TestContent(kLength, 3));
  ScriptedOrigin::Behaviour untold;
  untold.tells_length = false;
  ScriptedOrigin lengthless(TestContent(kLength, 4), untold);
  for (const auto& wire : {Wanting(first), Wanting(asked), Seeding(opened), Wanting(lengthless)}) {
    const absl::Status status = full.Download(wire);
    ASSERT_TRUE(status.ok()) << status;
    last = *TaskManager::IdOf(wire);
  }
  EXPECT_EQ(full.BytesOf(*last), lengthless.content());
  EXPECT_LE(opened.reads_of_any_byte(), 2) << "the body does not wait, and is asked for again";
  ASSERT_GE(threads.size(), 2u);
  EXPECT_THAT(threads[0], ::testing::StartsWith("blocking-"));
  EXPECT_THAT(threads[1], ::testing::StartsWith("blocking-"));
}

TEST_F(OriginCost, ARefusalOfTheFirstRequestReachesTheCaller) {
  ScriptedOrigin::Behaviour behaviour;
  behaviour.status = 403;
  ScriptedOrigin origin(TestContent(1), behaviour);
  const absl::Status status = peer_.Download(Seeding(origin));
  ASSERT_TRUE(GetBackendError(status)) << status;
  EXPECT_EQ(GetBackendError(status)->status_code, 403);
}

TEST_F(OriginCost, AFirstRequestThatStallsEndsInTime) {
  peer_.config.download.piece_timeout = absl::Milliseconds(300);
  ScriptedOrigin origin(TestContent(100));
  origin.HoldFrom(0);
  const absl::Status status = peer_.Download(Seeding(origin));
  EXPECT_TRUE(absl::IsDeadlineExceeded(status)) << status;
  origin.Release();
  EXPECT_TRUE(peer_.Download(Seeding(origin)).ok());
  EXPECT_EQ(peer_.BytesOf(*TaskManager::IdOf(Wanting(origin))), origin.content());
}

TEST_F(OriginCost, WhoIsSentToTheOriginAfterRegisteringAsksOnce) {
  peer_.link.SetTakesUnknownLength(true);
  ScriptedOrigin origin(TestContent(100));
  ASSERT_TRUE(peer_.Download(Wanting(origin)).ok());
  ExpectWhole(peer_, origin);
  EXPECT_EQ(origin.stats() + origin.reads(), 1);
  EXPECT_TRUE(peer_.link.Await("back to source finished 1 100"));

  peer_.link.SetUnreachable(true);
  ScriptedOrigin other(TestContent(100));
  ASSERT_TRUE(peer_.Download(Wanting(other)).ok());
  EXPECT_EQ(other.stats() + other.reads(), 1);
}

TEST_F(OriginCost, ASchedulerThatTakesTheFileForEmptyIsBelievedWhenTheOriginSaysSo) {
  peer_.link.SetTakesUnknownLength(true);
  peer_.link.Set({EmptyTask()});
  ScriptedOrigin empty("");
  RecordingObserver observer;
  ASSERT_TRUE(peer_.Download(Wanting(empty), observer).ok());
  EXPECT_EQ(observer.started->content_length, 0u);
  EXPECT_TRUE(peer_.link.Await("finished 0 0"));
  ScriptedOrigin full(TestContent(2 * kTestPieceLength));
  ASSERT_TRUE(peer_.Download(Wanting(full)).ok());
  ExpectWhole(peer_, full);
}

class OriginCostOfChild : public OriginCost {
 protected:
  void SetUp() override {
    ASSERT_TRUE(parent_.Download(Seeding(origin_)).ok());
    child_.link.SetTakesUnknownLength(true);
    Offer(origin_.content().size());
    asked_ = origin_.stats() + origin_.reads();
  }
  void Offer(std::optional<uint64_t> stated_length) {
    CandidateParent parent = parent_.AsParent();
    parent.content_length = stated_length;
    child_.link.Set({CandidateParents{{parent}}});
  }
  int Asked() const { return origin_.stats() + origin_.reads() - asked_; }

  ScriptedOrigin origin_{TestContent(3 * kTestPieceLength + 9)};
  TestPeer& parent_ = peer_;
  TestPeer child_{io_, "child"};
  int asked_ = 0;
};

TEST_F(OriginCostOfChild, NothingWhereTheClustersWordIsFreshEnough) {
  child_.config.storage.revalidate = Revalidate::kInterval;
  child_.config.storage.revalidate_interval = absl::Hours(1);
  RecordingObserver observer;
  const absl::Status status = child_.Download(Wanting(origin_), observer);
  ASSERT_TRUE(status.ok()) << status;
  ExpectWhole(child_, origin_);
  EXPECT_EQ(Asked(), 0);
  EXPECT_EQ(observer.BytesFrom(TrafficType::kRemotePeer), origin_.content().size());
  EXPECT_EQ(observer.started->response_header.at("etag"), "\"v1\"") << "the headers come from the parent";
  EXPECT_TRUE(child_.link.Await("finished 4 "));
}

TEST_F(OriginCostOfChild, OneQuestionWhereThePolicyWantsIt) {
  child_.config.storage.revalidate = Revalidate::kAlways;
  ASSERT_TRUE(child_.Download(Wanting(origin_)).ok());
  ExpectWhole(child_, origin_);
  EXPECT_EQ(Asked(), 1);
}

TEST_F(OriginCostOfChild, OneQuestionWhereNobodyStatesTheLengthOrTheStatementsDiffer) {
  child_.config.storage.revalidate = Revalidate::kNever;
  Offer(std::nullopt);
  ASSERT_TRUE(child_.Download(Wanting(origin_)).ok());
  EXPECT_EQ(Asked(), 1);
  TestPeer other(io_, "other");
  other.link.SetTakesUnknownLength(true);
  CandidateParent wrong = parent_.AsParent();
  wrong.content_length = 5;
  other.link.Set({CandidateParents{{wrong}}, CandidateParents{{parent_.AsParent()}}});
  ASSERT_TRUE(other.Download(Wanting(origin_)).ok());
  EXPECT_EQ(Asked(), 2);
  ExpectWhole(other, origin_);
}

TEST_F(OriginCostOfChild, NothingWhenTheOriginIsForbidden) {
  common::v2::Download wire = Wanting(origin_);
  wire.set_disable_back_to_source(true);
  ASSERT_TRUE(child_.Download(wire).ok());
  EXPECT_EQ(Asked(), 0);
  ExpectWhole(child_, origin_);
}

TEST_F(OriginCostOfChild, TheClusterOutlivesTheOrigin) {
  ScriptedOrigin::Behaviour behaviour;
  behaviour.status = 503;
  origin_.Set(behaviour);
  const absl::Status status = child_.Download(Wanting(origin_));
  ASSERT_TRUE(status.ok()) << status;
  ExpectWhole(child_, origin_);
}

// A parent's copy was had by credentials that its child does not have.
TEST_F(OriginCostOfChild, OneQuestionWhereTheParentHasBroughtCredentials) {
  ScriptedOrigin closed(TestContent(2 * kTestPieceLength));
  ScriptedOrigin::Behaviour behaviour;
  behaviour.authorizations = {"Bearer parent"};
  closed.Set(behaviour);
  common::v2::Download seeding = Seeding(closed);
  (*seeding.mutable_request_header())["authorization"] = "Bearer parent";
  ASSERT_TRUE(parent_.Download(seeding).ok());
  const int reads = closed.reads();
  child_.config.storage.revalidate = Revalidate::kInterval;
  child_.config.storage.revalidate_interval = absl::Hours(1);
  Offer(closed.content().size());
  const absl::Status refused = child_.Download(Wanting(closed));
  const std::optional<BackendError> error = GetBackendError(refused);
  ASSERT_TRUE(error) << refused;
  EXPECT_EQ(error->status_code, 401);
  common::v2::Download like_the_parent = Wanting(closed);
  *like_the_parent.mutable_request_header() = seeding.request_header();
  RecordingObserver observer;
  const absl::Status status = child_.Download(like_the_parent, observer);
  ASSERT_TRUE(status.ok()) << status;
  EXPECT_EQ(observer.BytesFrom(TrafficType::kRemotePeer), closed.content().size());
  EXPECT_EQ(closed.stats(), 2);
  EXPECT_EQ(closed.reads(), reads);
}

}  // namespace
}  // namespace dragonfly::daemon
