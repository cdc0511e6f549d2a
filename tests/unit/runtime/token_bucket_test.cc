// SPDX-License-Identifier: Apache-2.0
#include "runtime/token_bucket.h"

#include <gtest/gtest.h>

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

TEST(TokenBucket, BurstDefaultsToAQuarterOfASecond) {
  TokenBucket bucket(1000);
  EXPECT_EQ(bucket.Reserve(250, kStart), milliseconds(0));
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

TEST(TokenBucket, TakeWaitsForItsTokens) {
  IoThreads io(1);
  TokenBucket bucket(1000, 1);
  const TimePoint start = Clock::now();
  RunOn(io.At(0), bucket.Take(21));
  EXPECT_GE(Clock::now() - start, milliseconds(19));
}

}  // namespace
}  // namespace dragonfly::runtime
