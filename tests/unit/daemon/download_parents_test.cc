// SPDX-License-Identifier: Apache-2.0
// Downloads from other peers: honest, partial, lying, silent and dying ones.
#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <atomic>
#include <functional>

#include "absl/synchronization/notification.h"
#include "base/digest.h"
#include "base/status.h"
#include "base/text.h"
#include "tests/unit/daemon/lying_parent.h"
#include "tests/unit/daemon/test_peer.h"
#include "tests/unit/vortex/foreign_peer.h"

namespace dragonfly::daemon {
namespace {

using storage::TrafficType;
using ::testing::HasSubstr;

constexpr uint32_t kPieces = 12;
constexpr uint64_t kSize = (kPieces - 1) * kTestPieceLength + 100;

class ParentDownload : public ::testing::Test {
 protected:
  ParentDownload() {
    wire_.set_url(origin_.Url());
    wire_.set_piece_length(kTestPieceLength);
  }

  TaskId id() const { return *TaskManager::IdOf(wire_); }

  // Fills `parent` with pieces [first, last] from the origin.
  void Warm(TestPeer& parent, uint32_t first = 0, uint32_t last = kPieces - 1) {
    common::v2::Download part = wire_;
    part.mutable_range()->set_start(first * kTestPieceLength);
    part.mutable_range()->set_length((last - first + 1) * kTestPieceLength);
    const absl::Status status = parent.Download(part);
    ASSERT_TRUE(status.ok()) << status;
  }

  void Offer(std::vector<CandidateParent> parents) { child_.link.Set({CandidateParents{std::move(parents)}}); }

  // A silent transfer is taken over long before it is given up for its silence.
  void BeMorePatient() {
    child_.Stop();
    child_.config.download.collected_piece_timeout = absl::Seconds(30);
    child_.Start();
  }

  // A download that must end well without the origin.
  void ExpectFromPeers() {
    const int reads = origin_.reads();
    const absl::Status status = child_.Download(wire_, observer_);
    ASSERT_TRUE(status.ok()) << status;
    EXPECT_EQ(child_.BytesOf(id()), origin_.content());
    EXPECT_EQ(observer_.BytesFrom(TrafficType::kRemotePeer), kSize);
    EXPECT_EQ(origin_.reads(), reads) << "the origin was read though the parents have everything";
    EXPECT_TRUE(child_.link.Await("finished 12 "));
  }

  // One honest parent beside a liar: the file is right, and the liar is reported.
  void ExpectLiarCostsOnlyItself(LyingParent::Lies lies) {
    TestPeer honest(io_, "honest");
    Warm(honest);
    LyingParent liar("liar", origin_.content(), kTestPieceLength, std::move(lies));
    Offer({liar.AsParent(), honest.AsParent()});
    ExpectFromPeers();
    for (const auto& piece : observer_.pieces) EXPECT_EQ(piece.parent_id, "honest");
    EXPECT_EQ(child_.link.CountOf("reschedule"), 0);
    EXPECT_LE(liar.pieces_asked(), 8);
    if (liar.pieces_asked() > 0) EXPECT_GE(child_.link.CountOf("failed at liar"), 1);
  }

  // A child that wishes for QUIC gets everything from `parent`; `check` runs while its connections are there.
  template <typename Parent>
  void ExpectByQuicChild(Parent& parent, const std::function<void()>& check = [] {}) {
    TestPeer::Options options;
    options.protocol = "quic";
    TestPeer child(io_, "quic-child", options);
    child.link.Set({CandidateParents{{parent.AsParent()}}});
    const absl::Status status = child.Download(wire_, observer_);
    ASSERT_TRUE(status.ok()) << status;
    EXPECT_EQ(child.BytesOf(id()), origin_.content());
    EXPECT_EQ(observer_.BytesFrom(TrafficType::kRemotePeer), kSize);
    check();
  }

  runtime::IoThreads io_{2};
  ScriptedOrigin origin_{TestContent(kSize)};
  common::v2::Download wire_;
  TestPeer child_{io_, "child"};
  RecordingObserver observer_;
};

TEST_F(ParentDownload, TakesEverythingFromOneParent) {
  TestPeer parent(io_, "parent");
  Warm(parent);
  Offer({parent.AsParent()});
  ExpectFromPeers();
  EXPECT_EQ(child_.link.CountOf("piece 11 from parent"), 1);
  EXPECT_EQ(child_.link.CountOf("started"), 1);
}

TEST_F(ParentDownload, FollowsAParentThatIsStillDownloading) {
  TestPeer parent(io_, "parent");
  origin_.HoldFrom(3 * kTestPieceLength);
  RecordingObserver of_parent;
  auto running = parent.Begin(wire_, of_parent);
  ASSERT_TRUE(origin_.AwaitHeld());
  Offer({parent.AsParent()});
  auto following = child_.Begin(wire_, observer_);
  ASSERT_TRUE(child_.link.Await("piece 0 from parent"));
  origin_.Release();
  ASSERT_TRUE(running.get().ok());
  const absl::Status status = following.get();
  ASSERT_TRUE(status.ok()) << status;
  EXPECT_EQ(child_.BytesOf(id()), origin_.content());
  EXPECT_EQ(origin_.reads_of_any_byte(), 1);
}

TEST_F(ParentDownload, PutsPartialParentsTogether) {
  TestPeer first(io_, "first");
  TestPeer second(io_, "second");
  TestPeer third(io_, "third");
  Warm(first, 0, 4);
  Warm(second, 4, 8);
  Warm(third, 8, 11);
  Offer({first.AsParent(), second.AsParent(), third.AsParent()});
  ExpectFromPeers();
  EXPECT_EQ(child_.link.CountOf("reschedule"), 0);
}

TEST_F(ParentDownload, TakesPiecesFromParentsThatAreGivenOnTheWay) {
  TestPeer held(io_, "held");
  TestPeer later(io_, "later");
  Warm(later);
  origin_.HoldFrom(3 * kTestPieceLength);
  RecordingObserver of_held;
  auto running = held.Begin(wire_, of_held);
  ASSERT_TRUE(origin_.AwaitHeld());
  Offer({held.AsParent()});
  auto following = child_.Begin(wire_, observer_);
  ASSERT_TRUE(child_.link.Await("piece 2 from held"));
  EXPECT_EQ(child_.link.CountOf("piece 3 from later"), 0);
  // Twice the same, and itself: neither is a parent more.
  child_.link.Give({later.AsParent(), child_.AsParent()});
  child_.link.Give({later.AsParent()});
  // The first parent is held still.
  const absl::Status status = following.get();
  ASSERT_TRUE(status.ok()) << status;
  EXPECT_EQ(child_.BytesOf(id()), origin_.content());
  // A caller may have the last piece a moment before the scheduler hears of it.
  ASSERT_TRUE(child_.link.Await("finished"));
  for (uint32_t n = 3; n < kPieces; ++n) EXPECT_EQ(child_.link.CountOf(StrCat("piece ", n, " from later")), 1) << n;
  EXPECT_EQ(child_.link.CountOf("reschedule"), 0);
  EXPECT_EQ(child_.link.CountOf("started"), 1);
  origin_.Release();
  EXPECT_TRUE(running.get().ok());
}

TEST_F(ParentDownload, PeersThatHelpEachOtherDoNotWaitForEachOther) {
  TestPeer first(io_, "first");
  TestPeer second(io_, "second");
  TestPeer sibling(io_, "sibling");
  Warm(first, 0, 4);
  Warm(second, 5, 11);
  for (TestPeer* peer : {&child_, &sibling}) {
    peer->config.download.collected_piece_timeout = absl::Seconds(60);
    peer->link.Set({CandidateParents{{first.AsParent()}}, CandidateParents{{second.AsParent()}}});
  }
  child_.link.Give({sibling.AsParent()});
  sibling.link.Give({child_.AsParent()});
  const int reads = origin_.reads();
  RecordingObserver of_sibling;
  auto a = child_.Begin(wire_, observer_);
  auto b = sibling.Begin(wire_, of_sibling);
  const TimePoint begin = Clock::now();
  ASSERT_TRUE(a.get().ok());
  ASSERT_TRUE(b.get().ok());
  EXPECT_LT(Clock::now() - begin, std::chrono::seconds(30));
  for (TestPeer* peer : {&child_, &sibling}) {
    EXPECT_EQ(peer->BytesOf(id()), origin_.content());
    EXPECT_LE(peer->link.CountOf("reschedule"), 1);
  }
  EXPECT_EQ(origin_.reads(), reads);
}

TEST_F(ParentDownload, AsksForOtherParentsAsSoonAsTheseCanGiveNoMore) {
  TestPeer first(io_, "first");
  TestPeer second(io_, "second");
  Warm(first, 0, 4);
  Warm(second, 3, 11);
  child_.link.Set({CandidateParents{{first.AsParent()}}, CandidateParents{{second.AsParent()}}});
  const TimePoint begin = Clock::now();
  ExpectFromPeers();
  EXPECT_EQ(child_.link.CountOf("reschedule"), 1);
  // The time-out of news is two seconds; nothing waits for it.
  EXPECT_LT(Clock::now() - begin, std::chrono::milliseconds(1500));
}

TEST_F(ParentDownload, FallsBackToTheOriginWhenTheScheduleCountIsUsedUp) {
  TestPeer partial(io_, "partial");
  Warm(partial, 0, 4);
  Offer({partial.AsParent()});
  const absl::Status status = child_.Download(wire_, observer_);
  ASSERT_TRUE(status.ok()) << status;
  EXPECT_EQ(child_.BytesOf(id()), origin_.content());
  EXPECT_EQ(child_.link.CountOf("reschedule"), 4);
  EXPECT_TRUE(child_.link.Await("peer failed: max schedule count exceeded"));
  EXPECT_EQ(observer_.BytesFrom(TrafficType::kRemotePeer), 5 * kTestPieceLength);
}

TEST_F(ParentDownload, WaitsForTheSchedulerAsLongAsIsConfigured) {
  child_.Stop();
  child_.config.scheduler.schedule_timeout = absl::Minutes(7);
  child_.Start();
  TestPeer partial(io_, "partial");
  Warm(partial, 0, 4);
  Offer({partial.AsParent()});
  ASSERT_TRUE(child_.Download(wire_, observer_).ok());
  const std::vector<Clock::duration> patience = child_.link.patience();
  EXPECT_EQ(patience.size(), 5u);  // a registration and four reschedules
  for (const Clock::duration wait : patience) {
    EXPECT_GT(wait, std::chrono::minutes(6));
    EXPECT_LE(wait, std::chrono::minutes(7));
  }
}

TEST_F(ParentDownload, NamesTheCausesWhenTheOriginIsDisabled) {
  TestPeer empty(io_, "empty");
  Offer({empty.AsParent()});
  wire_.set_disable_back_to_source(true);
  const absl::Status status = child_.Download(wire_, observer_);
  EXPECT_THAT(std::string(MessageOf(status)), HasSubstr("not found"));
  EXPECT_THAT(std::string(MessageOf(status)), HasSubstr("max schedule count 5 exceeded"));
  EXPECT_EQ(origin_.reads(), 0);
}

TEST_F(ParentDownload, TakesTheUnaryCallWhereNoPieceServerIsTold) {
  TestPeer::Options options;
  options.serves_vortex = false;
  TestPeer parent(io_, "parent", options);
  Warm(parent);
  Offer({parent.AsParent()});
  ExpectFromPeers();
}

TEST_F(ParentDownload, TakesTheUnaryCallWhereThePieceServerDoesNotAnswer) {
  LyingParent::Lies lies;
  lies.tcp_port = 1;  // nobody listens there
  LyingParent parent("parent", origin_.content(), kTestPieceLength, std::move(lies));
  Offer({parent.AsParent()});
  ExpectFromPeers();
}

TEST_F(ParentDownload, TakesQuicWhereItIsWished) {
  TestPeer parent(io_, "parent");
  Warm(parent);
  ExpectByQuicChild(parent, [&] {
    EXPECT_GT(parent.quic_connections(), 0u);
    EXPECT_EQ(parent.tcp_connections(), 0u);
  });
}

TEST_F(ParentDownload, TakesTcpWhereQuicDoesNotAnswer) {
  TestPeer::Options options;
  options.told_quic_port = 1;  // nobody listens there
  TestPeer parent(io_, "parent", options);
  Warm(parent);
  ExpectByQuicChild(parent, [&] {
    EXPECT_EQ(parent.quic_connections(), 0u);
    EXPECT_GT(parent.tcp_connections(), 0u);
  });
}

TEST_F(ParentDownload, TakesTheUnaryCallWhereNeitherPieceServerAnswers) {
  LyingParent::Lies lies;
  lies.news = [](dfdaemon::v2::SyncPiecesResponse& news) {
    news.set_ip("127.0.0.1");
    news.set_tcp_port(1);
    news.set_quic_port(1);
  };
  LyingParent parent("parent", origin_.content(), kTestPieceLength, std::move(lies));
  ExpectByQuicChild(parent);
}

TEST_F(ParentDownload, SurvivesWrongBytes) {
  LyingParent::Lies lies;
  lies.piece = [](dfdaemon::v2::DownloadPieceResponse& answer) {
    (*answer.mutable_piece()->mutable_content())[0] ^= 1;
    return grpc::Status::OK;
  };
  ExpectLiarCostsOnlyItself(std::move(lies));
}

TEST_F(ParentDownload, SurvivesAShortBody) {
  LyingParent::Lies lies;
  lies.piece = [](dfdaemon::v2::DownloadPieceResponse& answer) {
    answer.mutable_piece()->mutable_content()->resize(10);
    return grpc::Status::OK;
  };
  ExpectLiarCostsOnlyItself(std::move(lies));
}

TEST_F(ParentDownload, SurvivesAWrongOffset) {
  LyingParent::Lies lies;
  lies.piece = [](dfdaemon::v2::DownloadPieceResponse& answer) {
    answer.mutable_piece()->set_offset(answer.piece().offset() + kTestPieceLength);
    return grpc::Status::OK;
  };
  ExpectLiarCostsOnlyItself(std::move(lies));
}

TEST_F(ParentDownload, SurvivesAWrongMetadataDigest) {
  LyingParent::Lies lies;
  lies.piece = [](dfdaemon::v2::DownloadPieceResponse& answer) {
    answer.set_digest("crc32:1");
    return grpc::Status::OK;
  };
  ExpectLiarCostsOnlyItself(std::move(lies));
}

TEST_F(ParentDownload, SurvivesAPieceWithoutADigest) {
  LyingParent::Lies lies;
  lies.piece = [](dfdaemon::v2::DownloadPieceResponse& answer) {
    answer.clear_digest();
    answer.mutable_piece()->clear_digest();
    return grpc::Status::OK;
  };
  ExpectLiarCostsOnlyItself(std::move(lies));
}

TEST_F(ParentDownload, SurvivesAnErrorForEachPiece) {
  LyingParent::Lies lies;
  lies.piece = [](dfdaemon::v2::DownloadPieceResponse&) {
    return grpc::Status(grpc::StatusCode::NOT_FOUND, "piece metadata not found");
  };
  ExpectLiarCostsOnlyItself(std::move(lies));
}

TEST_F(ParentDownload, SurvivesNewsOfPiecesThatCannotBe) {
  for (int kind = 0; kind < 3; ++kind) {
    LyingParent::Lies lies;
    lies.news = [kind](dfdaemon::v2::SyncPiecesResponse& news) {
      if (kind == 0) news.set_length(UINT64_MAX);
      if (kind == 1) news.set_offset(news.offset() + 1);
      if (kind == 2) news.set_number(UINT32_MAX);
    };
    TestPeer child(io_, "other child");
    TestPeer honest(io_, "honest");
    Warm(honest);
    LyingParent liar("liar", origin_.content(), kTestPieceLength, std::move(lies));
    child.link.Set({CandidateParents{{liar.AsParent(), honest.AsParent()}}});
    RecordingObserver observer;
    const absl::Status status = child.Download(wire_, observer);
    ASSERT_TRUE(status.ok()) << status;
    EXPECT_EQ(child.BytesOf(id()), origin_.content());
    EXPECT_EQ(liar.pieces_asked(), 0);
  }
}

TEST_F(ParentDownload, DoesNotWaitForAParentThatIsSilentFromTheStart) {
  LyingParent::Lies lies;
  lies.silent_news = true;
  const TimePoint begin = Clock::now();
  ExpectLiarCostsOnlyItself(std::move(lies));
  EXPECT_LT(Clock::now() - begin, std::chrono::milliseconds(1900)) << "it waited for the silent parent's time-out";
}

TEST_F(ParentDownload, TakesOverThePiecesOfAParentThatGoesSilent) {
  LyingParent::Lies lies;
  lies.silent_pieces = true;
  ExpectLiarCostsOnlyItself(std::move(lies));
}

TEST_F(ParentDownload, SurvivesAParentThatDiesOnTheWay) {
  TestPeer honest(io_, "honest");
  Warm(honest);
  // Sends half of the first piece and ends the connection, whatever it is asked for.
  vortex::ForeignParent dying([&](vortex::Wire& wire, int) {
    wire.Read(74);
    vortex::ContentHead head;
    head.number = 0;
    head.length = kTestPieceLength;
    wire.Send(head.Packet());
    wire.Send(std::string(kTestPieceLength / 2, 'x'));
  });
  LyingParent::Lies lies;
  lies.tcp_port = dying.port();
  lies.piece = [](dfdaemon::v2::DownloadPieceResponse&) { return grpc::Status(grpc::StatusCode::UNIMPLEMENTED, ""); };
  LyingParent parent("dying", origin_.content(), kTestPieceLength, std::move(lies));
  Offer({parent.AsParent(), honest.AsParent()});
  ExpectFromPeers();
  for (const auto& piece : observer_.pieces) EXPECT_EQ(piece.parent_id, "honest");
}

// The bytes of one piece as the reference sends them.
std::string PieceAnswer(const std::string& content, uint32_t number) {
  const std::string bytes = content.substr(number * kTestPieceLength, kTestPieceLength);
  vortex::ContentHead head;
  head.number = number;
  head.offset = number * kTestPieceLength;
  head.length = bytes.size();
  head.digest = FormatCrc32Digest(Crc32(bytes));
  return head.Packet() + bytes;
}

uint32_t PieceAskedFor(vortex::Wire& wire) {
  const std::string request = wire.Read(74);
  return request.size() == 74 ? static_cast<uint8_t>(request.back()) : UINT32_MAX;
}

TEST_F(ParentDownload, DoesNotBlameAParentForAPieceThatAnotherHasTakenOver) {
  BeMorePatient();
  absl::Notification stalled;
  // Says nothing when it is asked for the first piece, and gives every other one.
  vortex::ForeignParent server([&](vortex::Wire& wire, int) {
    const uint32_t number = PieceAskedFor(wire);
    if (number == UINT32_MAX) return;
    if (number != 0) return wire.Send(PieceAnswer(origin_.content(), number));
    if (!stalled.HasBeenNotified()) stalled.Notify();
    wire.End();
  });
  LyingParent::Lies of_slow;
  of_slow.keeps_news_open = true;
  of_slow.news = [&](dfdaemon::v2::SyncPiecesResponse& news) {
    // It is asked for the first piece before it has any other, and nobody else has what comes later.
    if (news.number() == 0 || stalled.WaitForNotificationWithTimeout(absl::Seconds(30))) {
      news.set_ip("127.0.0.1");
      news.set_tcp_port(server.port());
    }
  };
  LyingParent slow("slow", origin_.content(), kTestPieceLength, std::move(of_slow));
  LyingParent::Lies of_other;
  of_other.last_piece = 3;
  of_other.news = [&](dfdaemon::v2::SyncPiecesResponse&) { stalled.WaitForNotificationWithTimeout(absl::Seconds(30)); };
  LyingParent other("other", origin_.content(), kTestPieceLength, std::move(of_other));
  Offer({slow.AsParent(), other.AsParent()});
  ExpectFromPeers();
  EXPECT_EQ(child_.link.CountOf("piece 0 from other"), 1);
  EXPECT_EQ(child_.link.CountOf("piece 11 from slow"), 1);
  EXPECT_EQ(child_.link.CountOf("failed at slow"), 1) << "once for the take-over, and not again for its end";
  EXPECT_EQ(child_.link.CountOf("reschedule"), 0);
}

TEST_F(ParentDownload, AsksASlowParentAgainWhenTheOneThatTookOverDies) {
  BeMorePatient();
  absl::Notification stalled;
  std::atomic<int> asked = 0;
  vortex::ForeignParent slow_server([&](vortex::Wire& wire, int) {
    const uint32_t number = PieceAskedFor(wire);
    if (number == UINT32_MAX) return;
    if (number != 0 || asked++ > 0) return wire.Send(PieceAnswer(origin_.content(), number));
    stalled.Notify();
    wire.End();
  });
  // Takes over, and dies with half of the piece sent.
  vortex::ForeignParent dying_server([&](vortex::Wire& wire, int) {
    if (PieceAskedFor(wire) == UINT32_MAX) return;
    wire.Send(PieceAnswer(origin_.content(), 0).substr(0, kTestPieceLength / 2));
  });
  LyingParent::Lies of_slow;
  of_slow.tcp_port = slow_server.port();
  LyingParent::Lies of_dying;
  of_dying.last_piece = 0;
  of_dying.tcp_port = dying_server.port();
  of_dying.news = [&](dfdaemon::v2::SyncPiecesResponse&) { stalled.WaitForNotificationWithTimeout(absl::Seconds(30)); };
  of_dying.piece = [](dfdaemon::v2::DownloadPieceResponse&) {
    return grpc::Status(grpc::StatusCode::INTERNAL, "it dies");
  };
  LyingParent slow("slow", origin_.content(), kTestPieceLength, std::move(of_slow));
  LyingParent dying("dying", origin_.content(), kTestPieceLength, std::move(of_dying));
  // The scheduler would send it to the origin if it were asked.
  child_.link.Set({CandidateParents{{slow.AsParent(), dying.AsParent()}}, NeedBackToSource{"nobody else"}});
  ExpectFromPeers();
  EXPECT_EQ(dying_server.connections(), 1);
  EXPECT_EQ(asked, 2);
  EXPECT_EQ(child_.link.CountOf("reschedule"), 0);
}

TEST_F(ParentDownload, AsksItsOnlyParentAgainWhenAConnectionBreaksInTheMiddleOfAPiece) {
  std::atomic<int> asked = 0;
  vortex::ForeignParent server([&](vortex::Wire& wire, int) {
    const uint32_t number = PieceAskedFor(wire);
    if (number == UINT32_MAX) return;
    const std::string answer = PieceAnswer(origin_.content(), number);
    wire.Send(number == 5 && asked++ == 0 ? answer.substr(0, answer.size() / 2) : answer);
  });
  LyingParent::Lies lies;
  lies.tcp_port = server.port();
  LyingParent parent("parent", origin_.content(), kTestPieceLength, std::move(lies));
  child_.link.Set({CandidateParents{{parent.AsParent()}}, NeedBackToSource{"nobody else"}});
  ExpectFromPeers();
  EXPECT_EQ(asked, 2);
  EXPECT_EQ(parent.pieces_asked(), 0) << "the piece server answers: the unary call is no better";
  EXPECT_EQ(child_.link.CountOf("failed at"), 0);
  EXPECT_EQ(child_.link.CountOf("reschedule"), 0);
}

// A parent alone that has given two pieces has two more under way. Both break, and both are forgiven: they began before
// the first break. Each makes place for another, and of those the first to break ends it.
TEST_F(ParentDownload, LeavesAnOnlyParentThatBreaksOffAgain) {
  absl::Notification two_asked;
  absl::Notification four_asked;
  vortex::ForeignParent server([&](vortex::Wire& wire, int connection) {
    const uint32_t number = PieceAskedFor(wire);
    if (number == UINT32_MAX) return;
    const std::string answer = PieceAnswer(origin_.content(), number);
    if (connection < 2) {
      wire.Send(answer);
      return;
    }
    if (connection == 2) two_asked.WaitForNotificationWithTimeout(absl::Seconds(30));
    if (connection == 3) two_asked.Notify();
    if (connection == 4) four_asked.WaitForNotificationWithTimeout(absl::Seconds(30));
    if (connection == 5) {
      four_asked.Notify();
      wire.End();
      return;
    }
    // None is whole, not even the short last one: a piece would count for the parent.
    wire.Send(std::string_view(answer).substr(0, answer.size() - 1));
  });
  BeMorePatient();
  LyingParent::Lies lies;
  lies.tcp_port = server.port();
  LyingParent parent("parent", origin_.content(), kTestPieceLength, std::move(lies));
  child_.link.Set({CandidateParents{{parent.AsParent()}}, NeedBackToSource{"nobody else"}});
  ASSERT_TRUE(child_.Download(wire_, observer_).ok());
  EXPECT_EQ(child_.BytesOf(id()), origin_.content());
  EXPECT_EQ(server.connections(), 6);
  EXPECT_EQ(child_.link.CountOf("failed at parent"), 1);
  EXPECT_EQ(child_.link.CountOf("reschedule"), 1);
}

TEST_F(ParentDownload, AsksACompleteHelperBeforeTheOriginWhenItsParentDies) {
  absl::Notification given;
  // Dies as soon as the child has heard of somebody else, who has not said yet what it has.
  vortex::ForeignParent dying_server([&](vortex::Wire& wire, int) {
    if (PieceAskedFor(wire) == UINT32_MAX) return;
    given.WaitForNotificationWithTimeout(absl::Seconds(30));
  });
  LyingParent::Lies of_dying;
  of_dying.tcp_port = dying_server.port();
  of_dying.piece = [](dfdaemon::v2::DownloadPieceResponse&) {
    return grpc::Status(grpc::StatusCode::INTERNAL, "it dies");
  };
  LyingParent dying("dying", origin_.content(), kTestPieceLength, std::move(of_dying));
  LyingParent::Lies of_helper;
  of_helper.news = [&](dfdaemon::v2::SyncPiecesResponse& news) {
    if (news.number() != 0 || given.HasBeenNotified()) return;
    given.Notify();
    child_.link.Await("failed at dying");
  };
  LyingParent slow_to_tell("helper", origin_.content(), kTestPieceLength, std::move(of_helper));
  child_.link.Set({CandidateParents{{dying.AsParent()}}, NeedBackToSource{"nobody else"}});
  child_.link.Give({slow_to_tell.AsParent()});
  ExpectFromPeers();
  EXPECT_EQ(child_.link.CountOf("reschedule"), 0);
}

TEST_F(ParentDownload, SurvivesPeersAtWrongAddresses) {
  TestPeer honest(io_, "honest");
  Warm(honest);
  CandidateParent nobody = honest.AsParent();
  nobody.peer_id = "nobody";
  nobody.host_id = "nobody";
  nobody.port = 1;
  // A piece server is no gRPC server.
  CandidateParent wrong = nobody;
  wrong.peer_id = "wrong";
  wrong.port = honest.identity.vortex_port;
  Offer({nobody, wrong, honest.AsParent()});
  ExpectFromPeers();
}

TEST_F(ParentDownload, AsksNobodyWhoContradictsTheOrigin) {
  TestPeer honest(io_, "honest");
  Warm(honest);
  LyingParent other("other", origin_.content(), kTestPieceLength, LyingParent::Lies());
  CandidateParent longer = other.AsParent();
  longer.content_length = kSize + 1;
  CandidateParent unknown = honest.AsParent();
  unknown.content_length = UINT64_MAX;  // what a Go scheduler says when it does not know
  Offer({longer, unknown});
  ExpectFromPeers();
  EXPECT_EQ(other.pieces_asked(), 0);
}

TEST_F(ParentDownload, AsksNobodyWhoHasAnotherVersion) {
  TestPeer old(io_, "old");
  Warm(old);
  ScriptedOrigin::Behaviour behaviour;
  behaviour.etag = "\"v2\"";
  origin_.Set(behaviour);
  TestPeer current(io_, "current");
  Warm(current);
  Offer({old.AsParent(), current.AsParent()});
  ExpectFromPeers();
  for (const auto& piece : observer_.pieces) EXPECT_EQ(piece.parent_id, "current");
  EXPECT_EQ(child_.link.CountOf("reschedule"), 0);
}

TEST_F(ParentDownload, FollowsAParentWhoseOriginTellsNoLength) {
  ScriptedOrigin::Behaviour behaviour;
  behaviour.takes_ranges = false;
  behaviour.tells_length = false;
  origin_.Set(behaviour);
  TestPeer parent(io_, "parent");
  origin_.HoldFrom(3 * kTestPieceLength);
  RecordingObserver of_parent;
  auto running = parent.Begin(wire_, of_parent);
  ASSERT_TRUE(origin_.AwaitHeld());
  const int reads = origin_.reads();
  Offer({parent.AsParent()});
  auto following = child_.Begin(wire_, observer_);
  ASSERT_TRUE(child_.link.Await("piece 2 from parent")) << "it waits for the end of the file";
  origin_.Release();
  ASSERT_TRUE(running.get().ok());
  const absl::Status status = following.get();
  ASSERT_TRUE(status.ok()) << status;
  EXPECT_EQ(child_.BytesOf(id()), origin_.content());
  EXPECT_EQ(observer_.BytesFrom(TrafficType::kRemotePeer), kSize);
  EXPECT_EQ(origin_.reads(), reads);
  EXPECT_TRUE(child_.link.Await("finished 12 "));
}

TEST_F(ParentDownload, TakesTheLengthFromTheSchedulerWhereTheOriginTellsNone) {
  TestPeer parent(io_, "parent");
  Warm(parent);
  ScriptedOrigin::Behaviour behaviour;
  behaviour.takes_ranges = false;
  behaviour.tells_length = false;
  origin_.Set(behaviour);
  CandidateParent knowing = parent.AsParent();
  knowing.content_length = kSize;
  knowing.piece_length = kTestPieceLength;
  Offer({knowing});
  ExpectFromPeers();
  EXPECT_EQ(observer_.started->content_length, kSize);
}

TEST_F(ParentDownload, GoesOnWithItsParentsWhenTheSchedulerIsLost) {
  TestPeer partial(io_, "partial");
  Warm(partial, 0, 5);
  child_.link.Set({CandidateParents{{partial.AsParent()}}, absl::UnavailableError("the scheduler has gone")});
  const absl::Status status = child_.Download(wire_, observer_);
  ASSERT_TRUE(status.ok()) << status;
  EXPECT_EQ(observer_.BytesFrom(TrafficType::kRemotePeer), 6 * kTestPieceLength);
  EXPECT_EQ(child_.BytesOf(id()), origin_.content());
}

TEST_F(ParentDownload, AnswersACallerWhoWantsMoreOnTheWay) {
  TestPeer parent(io_, "parent");
  Warm(parent);
  LyingParent::Lies lies;
  lies.keeps_news_open = true;
  lies.last_piece = 1;  // of the first caller's pieces it has these
  LyingParent slow("slow", origin_.content(), kTestPieceLength, std::move(lies));
  Offer({slow.AsParent(), parent.AsParent()});
  common::v2::Download range = wire_;
  range.mutable_range()->set_start(0);
  range.mutable_range()->set_length(2 * kTestPieceLength);
  RecordingObserver of_range;
  auto first = child_.Begin(range, of_range);
  auto second = child_.Begin(wire_, observer_);
  ASSERT_TRUE(first.get().ok());
  const absl::Status status = second.get();
  ASSERT_TRUE(status.ok()) << status;
  EXPECT_EQ(child_.BytesOf(id()), origin_.content());
  EXPECT_EQ(of_range.pieces.size(), 2u);
}

TEST_F(ParentDownload, ManyChildrenOfOneSeedReadTheOriginOnce) {
  TestPeer seed(io_, "seed");
  origin_.HoldFrom(2 * kTestPieceLength);
  RecordingObserver of_seed;
  auto seeding = seed.Begin(wire_, of_seed);
  ASSERT_TRUE(origin_.AwaitHeld());
  std::vector<std::unique_ptr<TestPeer>> children;
  std::vector<RecordingObserver> observers(8);
  std::vector<std::future<absl::Status>> running;
  for (size_t i = 0; i < observers.size(); ++i) {
    children.push_back(std::make_unique<TestPeer>(io_, "child-" + std::to_string(i)));
    std::vector<CandidateParent> parents{seed.AsParent()};
    if (i > 0) parents.push_back(children[i - 1]->AsParent());
    children[i]->link.Set({CandidateParents{parents}});
    running.push_back(children[i]->Begin(wire_, observers[i]));
  }
  origin_.Release();
  ASSERT_TRUE(seeding.get().ok());
  for (auto& status : running) ASSERT_TRUE(status.get().ok());
  for (auto& child : children) EXPECT_EQ(child->BytesOf(id()), origin_.content());
  EXPECT_EQ(origin_.reads_of_any_byte(), 1);
}

}  // namespace
}  // namespace dragonfly::daemon
