// SPDX-License-Identifier: Apache-2.0
// TaskContent::WhenFinished(): who waits for a piece learns how it ends.
#include <boost/asio/co_spawn.hpp>
#include <boost/asio/io_context.hpp>
#include <boost/asio/use_future.hpp>
#include <chrono>
#include <future>

#include "tests/unit/storage/store_fixture.h"

namespace dragonfly::storage {
namespace {

namespace asio = boost::asio;

class PieceWaitTest : public StoreTest {
 protected:
  void SetUp() override {
    OpenStore();
    content_ = Make(1, 2 * kPiece);
  }

  // Waits on io_, up to where it suspends.
  std::future<absl::Status> Wait(uint32_t number, TimePoint deadline = Clock::now() + std::chrono::seconds(30)) {
    auto result = asio::co_spawn(io_, content_->WhenFinished(PieceNumber(number), deadline), asio::use_future);
    io_.poll();
    return result;
  }
  absl::Status ResultOf(std::future<absl::Status>& result) {
    io_.restart();
    io_.run_for(std::chrono::seconds(30));
    if (result.wait_for(std::chrono::seconds(0)) != std::future_status::ready) return absl::UnknownError("still waits");
    return result.get();
  }
  static bool Waits(const std::future<absl::Status>& result) {
    return result.wait_for(std::chrono::seconds(0)) != std::future_status::ready;
  }

  asio::io_context io_;
  std::shared_ptr<TaskContent> content_;
};

TEST_F(PieceWaitTest, ReturnsAtOnceWhenFinishedOrWhenNobodyWrites) {
  std::future<absl::Status> nobody = Wait(0);
  EXPECT_TRUE(absl::IsNotFound(ResultOf(nobody)));
  ASSERT_TRUE(WritePiece(*content_, 0, BytesOf(1, kPiece)).ok());
  std::future<absl::Status> finished = Wait(0);
  EXPECT_TRUE(ResultOf(finished).ok());
}

TEST_F(PieceWaitTest, WakesOnCommit) {
  absl::StatusOr<PieceWriter> writer = content_->BeginPiece(PieceNumber(0));
  std::future<absl::Status> first = Wait(0);
  std::future<absl::Status> second = Wait(0);
  ASSERT_TRUE(WritePiece(*content_, 1, BytesOf(1, kPiece)).ok());  // another piece wakes nobody for good
  io_.poll();
  EXPECT_TRUE(Waits(first));
  ASSERT_TRUE(writer->Append(AsBytes(BytesOf(1, kPiece))).ok());
  ASSERT_TRUE(writer->Commit(std::nullopt, "", TrafficType::kRemotePeer).ok());
  EXPECT_TRUE(ResultOf(first).ok());
  EXPECT_TRUE(ResultOf(second).ok());
}

TEST_F(PieceWaitTest, WakesWhenTheWriterGivesUp) {
  absl::StatusOr<PieceWriter> writer = content_->BeginPiece(PieceNumber(0));
  std::future<absl::Status> waiting = Wait(0);
  EXPECT_TRUE(Waits(waiting));
  writer = absl::CancelledError("dropped");
  EXPECT_TRUE(absl::IsNotFound(ResultOf(waiting)));
}

TEST_F(PieceWaitTest, WakesAtTheDeadline) {
  const absl::StatusOr<PieceWriter> writer = content_->BeginPiece(PieceNumber(0));
  std::future<absl::Status> waiting = Wait(0, Clock::now() + std::chrono::milliseconds(20));
  EXPECT_TRUE(absl::IsDeadlineExceeded(ResultOf(waiting)));
}

TEST_F(PieceWaitTest, TellsWhyTheDownloadFailed) {
  const absl::StatusOr<PieceWriter> writer = content_->BeginPiece(PieceNumber(0));
  std::future<absl::Status> waiting = Wait(0);
  content_->Fail(absl::PermissionDeniedError("origin says no"));
  EXPECT_EQ(ResultOf(waiting), absl::PermissionDeniedError("origin says no"));
  // Who comes later may try again.
  std::future<absl::Status> later = Wait(1);
  EXPECT_TRUE(absl::IsNotFound(ResultOf(later)));
}

TEST_F(PieceWaitTest, EndsWithTheContent) {
  const absl::StatusOr<PieceWriter> writer = content_->BeginPiece(PieceNumber(0));
  std::future<absl::Status> waiting = Wait(0);
  ASSERT_TRUE(store_->Delete(IdOf(1)).ok());
  EXPECT_TRUE(absl::IsCancelled(ResultOf(waiting)));
}

TEST_F(PieceWaitTest, NotifiesSubscribersOfEveryChange) {
  auto changed = [this, seen = content_->changes().version()]() mutable {
    return std::exchange(seen, content_->changes().version()) != seen;
  };
  {
    const absl::StatusOr<PieceWriter> writer = content_->BeginPiece(PieceNumber(0));
  }
  EXPECT_TRUE(changed()) << "a writer gave up";
  ASSERT_TRUE(WritePiece(*content_, 0, BytesOf(1, kPiece)).ok());
  EXPECT_TRUE(changed()) << "a piece is finished";
  content_->Fail(absl::UnavailableError("x"));
  EXPECT_TRUE(changed()) << "the download failed";
  ASSERT_TRUE(store_->Delete(IdOf(1)).ok());
  EXPECT_TRUE(changed()) << "the content was deleted";
  content_ = Make(2, std::nullopt);
  EXPECT_TRUE(changed());
  ASSERT_TRUE(content_->FinishLength(0).ok());
  EXPECT_TRUE(changed()) << "the length is known";
}

}  // namespace
}  // namespace dragonfly::storage
