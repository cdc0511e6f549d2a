// SPDX-License-Identifier: Apache-2.0
#include "manager/rate_limiter.h"

#include <memory>

#include "gtest/gtest.h"
#include "redis/client.h"
#include "runtime/blocking_pool.h"
#include "runtime/io_threads.h"
#include "tests/support/redis_server.h"
#include "tests/unit/runtime/run_coroutine.h"

namespace dragonfly::manager {
namespace {

TEST(RateLimiter, AllowsABurstAndThenTheRate) {
  RateLimiter limiter(nullptr, nullptr);
  const absl::Time now = absl::Now();
  for (int i = 0; i < 10; ++i) EXPECT_TRUE(limiter.TakeHere("a", 10, now).allowed) << i;
  const RateDecision refused = limiter.TakeHere("a", 10, now);
  EXPECT_FALSE(refused.allowed);
  EXPECT_EQ(refused.retry_after, absl::Milliseconds(100));
  // Others have a measure of their own.
  EXPECT_TRUE(limiter.TakeHere("b", 10, now).allowed);
  EXPECT_TRUE(limiter.TakeHere("a", 10, now + absl::Milliseconds(100)).allowed);
  EXPECT_FALSE(limiter.TakeHere("a", 10, now + absl::Milliseconds(100)).allowed);
  // Who rests for long gets no more than the burst.
  const absl::Time later = now + absl::Hours(1);
  int taken = 0;
  while (limiter.TakeHere("a", 10, later).allowed) ++taken;
  EXPECT_EQ(taken, 10);
  EXPECT_TRUE(limiter.TakeHere("a", 0, later).allowed);
}

TEST(RateLimiter, StaysSmallForStrangers) {
  RateLimiter limiter(nullptr, nullptr);
  const absl::Time now = absl::Now();
  for (size_t i = 0; i < 3 * RateLimiter::kNamesMax; ++i) {
    EXPECT_TRUE(limiter.TakeHere(std::to_string(i), 1, now).allowed);
  }
}

// Two managers on one Redis.
class SharedLimiter : public ::testing::Test {
 protected:
  std::unique_ptr<redis::Client> MakeClient() const {
    redis::Options options;
    options.addresses = {redis_.address()};
    options.connect_timeout = absl::Seconds(1);
    return *redis::Client::Make(options);
  }
  bool Take(RateLimiter& limiter, const std::string& name, double rate) {
    return runtime::RunOn(io_.At(0), limiter.Take(name, rate)).allowed;
  }

  testing::RedisServer redis_;
  runtime::IoThreads io_{1};
  runtime::BlockingPool blocking_{2, 64};
};

TEST_F(SharedLimiter, HasOneMeasureInTheFormOfTheOriginal) {
  const auto first_client = MakeClient();
  const auto second_client = MakeClient();
  RateLimiter first(first_client.get(), &blocking_);
  RateLimiter second(second_client.get(), &blocking_);
  // So slow that nothing comes back within the test: 0.01 a second, one at once.
  EXPECT_TRUE(Take(first, "7-job", 0.01));
  EXPECT_FALSE(Take(second, "7-job", 0.01));
  EXPECT_FALSE(Take(first, "7-job", 0.01));
  const auto stored = first_client->Run({"GET", "rate:7-job"});
  ASSERT_TRUE(stored.ok());
  // Seconds since 2017-01-01, a hundred from now.
  const double arrival = std::stod(stored->text);
  EXPECT_NEAR(arrival, absl::ToDoubleSeconds(absl::Now() - absl::UnixEpoch()) - 1483228800 + 100, 10);
  const auto life = first_client->Run({"TTL", "rate:7-job"});
  ASSERT_TRUE(life.ok());
  EXPECT_GE(life->integer, 90);
  EXPECT_LE(life->integer, 100);
}

TEST_F(SharedLimiter, MeasuresHereWhileRedisIsAway) {
  const auto client = MakeClient();
  RateLimiter limiter(client.get(), &blocking_);
  redis_.Kill();
  EXPECT_TRUE(Take(limiter, "a", 0.01));
  EXPECT_FALSE(Take(limiter, "a", 0.01));
}

}  // namespace
}  // namespace dragonfly::manager
