// SPDX-License-Identifier: Apache-2.0
#include "runtime/token_bucket.h"

#include <gtest/gtest.h>

#include <algorithm>
#include <functional>
#include <numeric>
#include <queue>
#include <vector>

#include "runtime/io_threads.h"
#include "tests/unit/runtime/run_coroutine.h"

namespace dragonfly::runtime {
namespace {

using std::chrono::milliseconds;
using std::chrono::seconds;

const TimePoint kStart = TimePoint(seconds(1000));

TEST(TokenBucket, UnlimitedNeverWaits) {
  TokenBucket bucket(0);
  EXPECT_TRUE(bucket.unlimited());
  EXPECT_EQ(bucket.Reserve(UINT64_MAX, kStart), Clock::duration::zero());
}

TEST(TokenBucket, GrantsTheBurstAtOnceAndThenTheRate) {
  TokenBucket bucket(1000, 100);
  EXPECT_EQ(bucket.Reserve(100, kStart), milliseconds(0));
  EXPECT_EQ(bucket.Reserve(50, kStart), milliseconds(50));
  EXPECT_EQ(bucket.Reserve(50, kStart), milliseconds(100));  // behind the one before
  EXPECT_EQ(bucket.Reserve(1, kStart + milliseconds(100)), milliseconds(1));
}

TEST(TokenBucket, SavesAtMostTheBurst) {
  TokenBucket bucket(1000, 100);
  EXPECT_EQ(bucket.Reserve(100, kStart), milliseconds(0));
  EXPECT_EQ(bucket.Reserve(100, kStart + seconds(3600)), milliseconds(0));
  EXPECT_EQ(bucket.Reserve(1, kStart + seconds(3600)), milliseconds(1));
}

TEST(TokenBucket, RefillsInPart) {
  TokenBucket bucket(1000, 100);
  EXPECT_EQ(bucket.Reserve(100, kStart), milliseconds(0));
  EXPECT_EQ(bucket.Reserve(60, kStart + milliseconds(50)), milliseconds(10));
}

TEST(TokenBucket, GrantsMoreThanTheBurstAfterItsTime) {
  TokenBucket bucket(1000, 100);
  EXPECT_EQ(bucket.Reserve(1100, kStart), seconds(1));
}

TEST(TokenBucket, BurstDefaultsToATenthOfASecond) {
  TokenBucket bucket(1000);
  EXPECT_EQ(bucket.Reserve(100, kStart), milliseconds(0));
  EXPECT_EQ(bucket.Reserve(1, kStart), milliseconds(1));
}

TEST(TokenBucket, HugeAmountsDoNotOverflow) {
  TokenBucket bucket(1);
  for (int i = 0; i < 10; ++i) EXPECT_GT(bucket.Reserve(UINT64_MAX, kStart), seconds(86400));
}

TEST(TokenBucket, KeepsTheRateOverManySmallTakes) {
  TokenBucket bucket(1'000'000'007, 1);
  Clock::duration wait{};
  for (int i = 0; i < 1000; ++i) wait = bucket.Reserve(1'000'000, kStart);
  EXPECT_NEAR(std::chrono::duration<double>(wait).count(), 1.0, 1e-4);
}

TEST(TokenBucket, BooksNothingBeyondTheLongestWait) {
  TokenBucket bucket(1000, 100);
  EXPECT_EQ(bucket.ReserveWithin(100, kStart, milliseconds(0)), milliseconds(0));
  EXPECT_EQ(bucket.ReserveWithin(20, kStart, milliseconds(10)), std::nullopt);
  EXPECT_EQ(bucket.ReserveWithin(10, kStart, milliseconds(10)), milliseconds(10));
  EXPECT_EQ(TokenBucket(0).ReserveWithin(UINT64_MAX, kStart, milliseconds(0)), milliseconds(0));
}

TEST(TokenBucket, ChunksAndSmallTransfersFollowTheRate) {
  constexpr uint64_t kKiB = 1024;
  constexpr uint64_t kMiB = 1024 * kKiB;
  EXPECT_EQ(TokenBucket(1000).chunk(), 16 * kKiB);
  EXPECT_EQ(TokenBucket(64 * 100'000).chunk(), 100'000u);
  EXPECT_EQ(TokenBucket(50'000'000'000).chunk(), 4 * kMiB);
  EXPECT_EQ(TokenBucket(0).chunk(), 4 * kMiB);
  EXPECT_EQ(TokenBucket(1000).SizeOf(64 * kKiB), TransferSize::kSmall);
  EXPECT_EQ(TokenBucket(1000).SizeOf(64 * kKiB + 1), TransferSize::kLarge);
  EXPECT_EQ(TokenBucket(40 * 100'000).SizeOf(100'000), TransferSize::kSmall);
  EXPECT_EQ(TokenBucket(50'000'000'000).SizeOf(4 * kMiB), TransferSize::kLarge);
}

TEST(TokenBucket, SmallTransfersPassLargeOnesThatPayForIt) {
  TokenBucket bucket(1000, 100);
  EXPECT_EQ(bucket.Reserve(1100, kStart), seconds(1));
  EXPECT_EQ(bucket.Reserve(50, kStart, TransferSize::kSmall), milliseconds(0));
  EXPECT_EQ(bucket.Reserve(50, kStart), milliseconds(1100));
}

// Transfers on one bucket in virtual time: each takes its next chunk when it was granted the one before.
class VirtualTransfers {
 public:
  explicit VirtualTransfers(TokenBucket& bucket) : bucket_(bucket) {}

  // One that never ends.
  size_t AddLarge(TimePoint at) { return Add({at, 0, bucket_.chunk(), TransferSize::kLarge, milliseconds(0)}); }
  // One of `bytes` after another, with `pause` between them.
  size_t AddSmall(TimePoint at, uint64_t bytes, Clock::duration pause) {
    return Add({at, 0, bytes, TransferSize::kSmall, pause});
  }

  void RunUntil(TimePoint end) {
    while (!events_.empty() && events_.top().at < end) {
      Event event = events_.top();
      events_.pop();
      const Clock::duration wait = bucket_.Reserve(event.bytes, event.at, event.size);
      if (event.size == TransferSize::kSmall) longest_small_wait_ = std::max(longest_small_wait_, wait);
      event.at += wait;
      if (event.at < end) granted_[event.transfer] += event.bytes;
      event.at += event.pause;
      events_.push(event);
    }
  }

  uint64_t granted(size_t transfer) const { return granted_[transfer]; }
  uint64_t total() const { return std::accumulate(granted_.begin(), granted_.end(), uint64_t{0}); }
  Clock::duration longest_small_wait() const { return longest_small_wait_; }

 private:
  struct Event {
    TimePoint at;
    size_t transfer;
    uint64_t bytes;
    TransferSize size;
    Clock::duration pause;
    bool operator>(const Event& other) const { return at > other.at; }
  };
  size_t Add(Event event) {
    event.transfer = granted_.size();
    granted_.push_back(0);
    events_.push(event);
    return event.transfer;
  }

  TokenBucket& bucket_;
  std::priority_queue<Event, std::vector<Event>, std::greater<>> events_;
  std::vector<uint64_t> granted_;
  Clock::duration longest_small_wait_{};
};

class TokenBucketLoad : public testing::TestWithParam<uint64_t> {};

TEST_P(TokenBucketLoad, KeepsTheRateAndSharesItEqually) {
  TokenBucket bucket(GetParam());
  VirtualTransfers transfers(bucket);
  for (int i = 0; i < 8; ++i) transfers.AddLarge(kStart + milliseconds(i));
  transfers.RunUntil(kStart + seconds(10));
  const double wanted = 10.0 * static_cast<double>(GetParam());
  EXPECT_NEAR(static_cast<double>(transfers.total()) / wanted, 1, 0.03);
  for (size_t i = 0; i < 8; ++i) EXPECT_NEAR(static_cast<double>(transfers.granted(i)) / (wanted / 8), 1, 0.1) << i;
}

TEST_P(TokenBucketLoad, LetsSmallTransfersThroughBesideLargeOnes) {
  TokenBucket bucket(GetParam());
  VirtualTransfers transfers(bucket);
  for (int i = 0; i < 100; ++i) transfers.AddLarge(kStart);
  for (int i = 0; i < 4; ++i) transfers.AddSmall(kStart + seconds(1), 16 << 10, milliseconds(100));
  transfers.RunUntil(kStart + seconds(10));
  EXPECT_LT(transfers.longest_small_wait(), milliseconds(50));
  EXPECT_NEAR(static_cast<double>(transfers.total()) / (10.0 * static_cast<double>(GetParam())), 1, 0.05);
}

TEST_P(TokenBucketLoad, AFloodOfSmallTransfersLeavesAQuarterToLargeOnes) {
  TokenBucket bucket(GetParam());
  VirtualTransfers transfers(bucket);
  const size_t large = transfers.AddLarge(kStart);
  for (int i = 0; i < 100; ++i) transfers.AddSmall(kStart, 32 << 10, milliseconds(0));
  transfers.RunUntil(kStart + seconds(10));
  const double wanted = 10.0 * static_cast<double>(GetParam());
  EXPECT_NEAR(static_cast<double>(transfers.total()) / wanted, 1, 0.05);
  EXPECT_NEAR(static_cast<double>(transfers.granted(large)) / (wanted / 4), 1, 0.15);
}

INSTANTIATE_TEST_SUITE_P(Rates, TokenBucketLoad, testing::Values(5'000'000, 20'000'000, 125'000'000, 1'250'000'000));

TEST(TokenBucket, OneThatChoosesIsWhicheverIsChosen) {
  TokenBucket slow(1000, 1000);
  TokenBucket unlimited(0);
  TokenBucket* chosen = &slow;
  TokenBucket bucket([&]() -> TokenBucket& { return *chosen; });
  EXPECT_EQ(bucket.rate(), slow.rate());
  EXPECT_EQ(bucket.chunk(), slow.chunk());
  EXPECT_EQ(bucket.SizeOf(1 << 20), slow.SizeOf(1 << 20));
  EXPECT_EQ(bucket.Reserve(1000, kStart), Clock::duration::zero());
  EXPECT_EQ(slow.ReserveWithin(1, kStart, Clock::duration::zero()), std::nullopt) << "its tokens were taken";
  EXPECT_EQ(bucket.ReserveWithin(1, kStart, Clock::duration::zero()), std::nullopt);
  chosen = &unlimited;
  EXPECT_TRUE(bucket.unlimited());
  EXPECT_EQ(bucket.chunk(), unlimited.chunk());
  EXPECT_EQ(bucket.Reserve(1 << 30, kStart), Clock::duration::zero());
}

TEST(TokenBucket, TakeWaitsForItsTokens) {
  IoThreads io(1);
  TokenBucket bucket(1000, 1);
  const TimePoint start = Clock::now();
  RunOn(io.At(0), bucket.Take(21));
  EXPECT_GE(Clock::now() - start, milliseconds(19));
}

}  // namespace
}  // namespace dragonfly::runtime
