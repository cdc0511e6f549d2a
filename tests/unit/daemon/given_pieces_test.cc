// SPDX-License-Identifier: Apache-2.0
// What a parent tells of the pieces that it gives, and what a child makes of it.
#include "rpc/given_pieces.h"

#include <gmock/gmock.h>
#include <grpcpp/client_context.h>
#include <grpcpp/create_channel.h>
#include <gtest/gtest.h>

#include <algorithm>
#include <numeric>

#include "dfdaemon/v2/dfdaemon.grpc.pb.h"
#include "tests/unit/daemon/lying_parent.h"
#include "tests/unit/daemon/test_peer.h"

namespace dragonfly::daemon {
namespace {

namespace wire = dfdaemon::v2;

constexpr uint32_t kPieces = 12;
constexpr uint64_t kSize = (kPieces - 1) * kTestPieceLength + 100;

// One child's stream, read as far as a test needs it.
class Follower {
 public:
  Follower(wire::DfdaemonUpload::Stub& stub, const TaskId& task, std::vector<uint32_t> numbers) {
    wire::SyncPiecesRequest request;
    request.set_host_id("child");
    request.set_task_id(task.str());
    for (const uint32_t number : numbers) request.add_interested_piece_numbers(number);
    rpc::SetFollowsGiven(request);
    stream_ = stub.SyncPieces(&context_, request);
  }

  // Pieces that the parent has, until it says that these are all.
  std::vector<uint32_t> ReadNews() {
    std::vector<uint32_t> numbers;
    for (wire::SyncPiecesResponse message; stream_->Read(&message) && !rpc::IsAllTold(message);) {
      if (!Take(message)) numbers.push_back(message.number());
    }
    std::sort(numbers.begin(), numbers.end());
    return numbers;
  }
  // The next piece that the parent has.
  std::optional<uint32_t> ReadPiece() {
    for (wire::SyncPiecesResponse message; stream_->Read(&message);) {
      if (!Take(message)) return message.number();
    }
    return std::nullopt;
  }
  // The next `count` pieces that were given.
  std::vector<uint32_t> ReadGiven(size_t count) {
    for (wire::SyncPiecesResponse message; given_.size() < count && stream_->Read(&message);) Take(message);
    return std::exchange(given_, {});
  }
  // Nothing comes before the end.
  grpc::Status ReadEnd() {
    wire::SyncPiecesResponse message;
    EXPECT_FALSE(stream_->Read(&message)) << message.ShortDebugString();
    return stream_->Finish();
  }
  void Cancel() {
    context_.TryCancel();
    for (wire::SyncPiecesResponse message; stream_->Read(&message);) {
    }
    (void)stream_->Finish();
  }

 private:
  bool Take(const wire::SyncPiecesResponse& message) {
    const std::vector<PieceNumber> given = rpc::GivenIn(message);
    for (const PieceNumber number : given) given_.push_back(number.value());
    return !given.empty();
  }

  grpc::ClientContext context_;
  std::unique_ptr<grpc::ClientReader<wire::SyncPiecesResponse>> stream_;
  std::vector<uint32_t> given_;
};

class GivenPieces : public ::testing::Test {
 protected:
  GivenPieces() {
    want_.set_url(origin_.Url());
    want_.set_piece_length(kTestPieceLength);
    stub_ = wire::DfdaemonUpload::NewStub(
        grpc::CreateChannel(parent_.upload_address(), grpc::InsecureChannelCredentials()));
  }

  TaskId id() const { return *TaskManager::IdOf(want_); }
  static std::vector<uint32_t> All() {
    std::vector<uint32_t> numbers(kPieces);
    std::iota(numbers.begin(), numbers.end(), 0);
    return numbers;
  }

  grpc::Status DownloadPiece(uint32_t number) {
    grpc::ClientContext context;
    wire::DownloadPieceRequest request;
    request.set_host_id("other");
    request.set_task_id(id().str());
    request.set_piece_number(number);
    wire::DownloadPieceResponse response;
    return stub_->DownloadPiece(&context, request, &response);
  }

  runtime::IoThreads io_{2};
  ScriptedOrigin origin_{TestContent(kSize)};
  TestPeer parent_{io_, "parent"};
  common::v2::Download want_;
  std::unique_ptr<wire::DfdaemonUpload::Stub> stub_;
};

TEST_F(GivenPieces, AreToldOnceToThoseWhoFollowUntilAllAreGiven) {
  ASSERT_TRUE(parent_.Download(want_).ok());
  Follower follower(*stub_, id(), {1, 2, 7});
  EXPECT_EQ(follower.ReadNews(), (std::vector<uint32_t>{1, 2, 7}));
  for (const uint32_t number : {7u, 7u, 3u}) ASSERT_TRUE(DownloadPiece(number).ok());

  // Who comes later is told what was given meanwhile.
  Follower second(*stub_, id(), {2, 5, 7});
  EXPECT_EQ(second.ReadNews(), (std::vector<uint32_t>{2, 5, 7}));
  EXPECT_EQ(second.ReadGiven(1), (std::vector<uint32_t>{7}));
  ASSERT_TRUE(DownloadPiece(2).ok());
  EXPECT_EQ(follower.ReadGiven(2), (std::vector<uint32_t>{7, 2}));
  EXPECT_EQ(second.ReadGiven(1), (std::vector<uint32_t>{2}));

  ASSERT_TRUE(DownloadPiece(1).ok());
  EXPECT_EQ(follower.ReadGiven(1), (std::vector<uint32_t>{1}));
  EXPECT_TRUE(follower.ReadEnd().ok());
  second.Cancel();
}

TEST_F(GivenPieces, AreThoseThatThePieceServerGives) {
  ASSERT_TRUE(parent_.Download(want_).ok());
  Follower follower(*stub_, id(), All());
  EXPECT_EQ(follower.ReadNews(), All());
  TestPeer child(io_, "child");
  child.link.Set({CandidateParents{{parent_.AsParent()}}});
  ASSERT_TRUE(child.Download(want_).ok());
  std::vector<uint32_t> given = follower.ReadGiven(kPieces);
  std::sort(given.begin(), given.end());
  EXPECT_EQ(given, All());
  EXPECT_TRUE(follower.ReadEnd().ok());
}

TEST_F(GivenPieces, AreToldWhileTheOriginIsRead) {
  origin_.HoldFrom(2 * kTestPieceLength);
  RecordingObserver observer;
  auto running = parent_.Begin(want_, observer);
  ASSERT_TRUE(origin_.AwaitHeld());
  Follower follower(*stub_, id(), All());
  ASSERT_TRUE(follower.ReadPiece());
  Follower other(*stub_, id(), All());
  ASSERT_TRUE(other.ReadPiece());
  ASSERT_TRUE(DownloadPiece(0).ok());
  EXPECT_EQ(follower.ReadGiven(1), (std::vector<uint32_t>{0}));
  origin_.Release();
  ASSERT_TRUE(running.get().ok());
  follower.Cancel();
  other.Cancel();
}

// What it has from others, these have as well: they tell of it themselves.
TEST_F(GivenPieces, AreNotToldByThoseInBetween) {
  ASSERT_TRUE(parent_.Download(want_).ok());
  LyingParent::Lies lies;
  lies.last_piece = 5;
  lies.keeps_news_open = true;
  LyingParent half("half", origin_.content(), kTestPieceLength, std::move(lies));
  TestPeer between(io_, "between");
  between.link.Set({CandidateParents{{half.AsParent()}}, CandidateParents{{parent_.AsParent()}}});
  RecordingObserver observer;
  auto running = between.Begin(want_, observer);
  ASSERT_TRUE(between.link.Await("piece 5 from half"));
  stub_ =
      wire::DfdaemonUpload::NewStub(grpc::CreateChannel(between.upload_address(), grpc::InsecureChannelCredentials()));
  Follower follower(*stub_, id(), All());
  ASSERT_TRUE(follower.ReadPiece());
  Follower other(*stub_, id(), All());
  ASSERT_TRUE(other.ReadPiece());
  ASSERT_TRUE(DownloadPiece(0).ok());
  // It is complete at last: what it gives from now on is told.
  const absl::Status status = running.get();
  ASSERT_TRUE(status.ok()) << status;
  follower.ReadNews();
  ASSERT_TRUE(DownloadPiece(9).ok());
  EXPECT_EQ(follower.ReadGiven(1), (std::vector<uint32_t>{9}));
  follower.Cancel();
  other.Cancel();
}

TEST_F(GivenPieces, AreNotWaitedForWhereNoPieceCanBe) {
  ASSERT_TRUE(parent_.Download(want_).ok());
  Follower follower(*stub_, id(), {kPieces, kPieceCountMax - 1, kPieceCountMax, UINT32_MAX});
  EXPECT_TRUE(follower.ReadNews().empty());
  EXPECT_TRUE(follower.ReadEnd().ok());
}

TEST_F(GivenPieces, EndWithTheTask) {
  ASSERT_TRUE(parent_.Download(want_).ok());
  Follower follower(*stub_, id(), All());
  follower.ReadNews();
  ASSERT_TRUE(RunOn(io_, parent_.tasks().Delete(id())).ok());
  EXPECT_TRUE(follower.ReadEnd().ok());
}

// A parent that can say no more is not waited for, though its stream stays open.
TEST_F(GivenPieces, AreNoReasonToWait) {
  LyingParent::Lies lies;
  lies.last_piece = 8;
  lies.given = {PieceNumber(3), PieceNumber(3), PieceNumber(kPieces), PieceNumber(UINT32_MAX)};
  LyingParent half("half", origin_.content(), kTestPieceLength, std::move(lies));
  TestPeer child(io_, "child");
  child.Stop();
  child.config.download.collected_piece_timeout = absl::Seconds(600);
  child.Start();
  child.link.Set({CandidateParents{{half.AsParent()}}, NeedBackToSource{"told so"}});
  RecordingObserver observer;
  const absl::Status status = child.Download(want_, observer);
  ASSERT_TRUE(status.ok()) << status;
  EXPECT_EQ(child.BytesOf(id()), origin_.content());
  EXPECT_EQ(observer.BytesFrom(storage::TrafficType::kRemotePeer), 9 * kTestPieceLength);
}

}  // namespace
}  // namespace dragonfly::daemon
