// SPDX-License-Identifier: Apache-2.0
#include "runtime/adaptive_limiter.h"

#include <gtest/gtest.h>

#include <algorithm>
#include <functional>
#include <queue>
#include <vector>

namespace dragonfly::runtime {
namespace {

using std::chrono::milliseconds;
using std::chrono::seconds;

const TimePoint kStart = TimePoint(seconds(1000));

// 20 requests of 50 ms each end in one bucket: 20 x 5 a second x 0.05 s = 5 at once.
void Measure(AdaptiveLimiter& limiter, TimePoint at, int requests = 20, Clock::duration cost = milliseconds(50)) {
  for (int i = 0; i < requests; ++i) {
    ASSERT_TRUE(limiter.Admit(false, at));
    limiter.Leave(at, at + cost);
  }
}

TEST(AdaptiveLimiter, LetsEverybodyInWhileThereIsNoOverload) {
  AdaptiveLimiter limiter{AdaptiveLimiter::Options()};
  Measure(limiter, kStart);
  for (int i = 0; i < 1000; ++i) EXPECT_TRUE(limiter.Admit(false, kStart + seconds(1)));
  EXPECT_EQ(limiter.in_flight(), 1000u);
}

TEST(AdaptiveLimiter, LetsEverybodyInWhileNothingWasMeasured) {
  AdaptiveLimiter limiter{AdaptiveLimiter::Options()};
  EXPECT_EQ(limiter.Capacity(kStart), std::nullopt);
  for (int i = 0; i < 100; ++i) EXPECT_TRUE(limiter.Admit(true, kStart));
}

TEST(AdaptiveLimiter, CapacityIsEndsASecondTimesTheShortestTime) {
  AdaptiveLimiter limiter{AdaptiveLimiter::Options()};
  Measure(limiter, kStart);
  EXPECT_EQ(limiter.Capacity(kStart + seconds(1)), 5u);
  // A slower time later does not count, more ends in one bucket do.
  Measure(limiter, kStart + seconds(1), 40, milliseconds(100));
  EXPECT_EQ(limiter.Capacity(kStart + seconds(2)), 10u);
  // Ten seconds are remembered.
  EXPECT_EQ(limiter.Capacity(kStart + milliseconds(10'800)), 20u);
  EXPECT_EQ(limiter.Capacity(kStart + milliseconds(11'400)), std::nullopt);
}

TEST(AdaptiveLimiter, TakesATimeBelowAMillisecondForOne) {
  AdaptiveLimiter limiter{AdaptiveLimiter::Options()};
  Measure(limiter, kStart, 1000, std::chrono::microseconds(10));
  EXPECT_EQ(limiter.Capacity(kStart), 5u);
}

TEST(AdaptiveLimiter, RefusesWhatIsAboveTheCapacityDuringAnOverload) {
  AdaptiveLimiter limiter{AdaptiveLimiter::Options()};
  Measure(limiter, kStart);
  const TimePoint now = kStart + seconds(1);
  for (int i = 0; i < 5; ++i) EXPECT_TRUE(limiter.Admit(true, now));
  EXPECT_FALSE(limiter.Admit(true, now));
  EXPECT_EQ(limiter.in_flight(), 5u);
  limiter.Leave(now, now + milliseconds(60));
  EXPECT_TRUE(limiter.Admit(true, now + milliseconds(60)));
}

TEST(AdaptiveLimiter, OneIsLetInHoweverSmallTheCapacity) {
  AdaptiveLimiter limiter{AdaptiveLimiter::Options()};
  Measure(limiter, kStart, 1, milliseconds(1));
  EXPECT_EQ(limiter.Capacity(kStart), 1u);
  EXPECT_TRUE(limiter.Admit(true, kStart));
  EXPECT_FALSE(limiter.Admit(true, kStart));
}

TEST(AdaptiveLimiter, TheCooldownKeepsTheCapacityAndShutsNobodyOutBelowIt) {
  AdaptiveLimiter limiter{AdaptiveLimiter::Options()};
  Measure(limiter, kStart);
  const TimePoint refused_at = kStart + seconds(1);
  for (int i = 0; i < 5; ++i) EXPECT_TRUE(limiter.Admit(true, refused_at));
  EXPECT_FALSE(limiter.Admit(true, refused_at));
  // The overload has gone, the cooldown has not.
  EXPECT_FALSE(limiter.Admit(false, refused_at + seconds(4)));
  limiter.Leave(refused_at, refused_at + seconds(4));
  EXPECT_TRUE(limiter.Admit(false, refused_at + seconds(4)));
  // A refusal without overload does not prolong it.
  EXPECT_FALSE(limiter.Admit(false, refused_at + milliseconds(4'900)));
  EXPECT_TRUE(limiter.Admit(false, refused_at + seconds(5)));
}

TEST(AdaptiveLimiter, ARequestCountsUntilItsPermitGoes) {
  AdaptiveLimiter limiter{AdaptiveLimiter::Options()};
  {
    std::optional<AdaptiveLimiter::Permit> permit = limiter.Enter(false, Clock::now());
    ASSERT_TRUE(permit.has_value());
    const AdaptiveLimiter::Permit moved = *std::move(permit);
    permit.reset();
    EXPECT_EQ(limiter.in_flight(), 1u);
  }
  EXPECT_EQ(limiter.in_flight(), 0u);
  EXPECT_NE(limiter.Capacity(Clock::now()), std::nullopt);
}

TEST(AdaptiveLimiter, NonsenseOptionsAreTakenAsTheSmallestThatMakeSense) {
  AdaptiveLimiter::Options options;
  options.bucket_count = 0;
  options.bucket_interval = Clock::duration::zero();
  AdaptiveLimiter limiter(options);
  Measure(limiter, kStart, 1, milliseconds(0));
  EXPECT_EQ(limiter.Capacity(kStart), 1u);
}

// A server of ten workers in virtual time that takes 20 ms a request, and clients that ask 1000 times a second: twice
// what it can do.
TEST(AdaptiveLimiter, KeepsAnOverloadedServerAtItsBest) {
  AdaptiveLimiter limiter{AdaptiveLimiter::Options()};
  constexpr int kWorkers = 10;
  constexpr auto kCost = milliseconds(20);
  std::vector<TimePoint> free_at(kWorkers, kStart);
  struct End {
    TimePoint at;
    TimePoint begun;
    bool operator>(const End& other) const { return at > other.at; }
  };
  std::priority_queue<End, std::vector<End>, std::greater<>> ends;
  const TimePoint overload_at = kStart + seconds(2);
  const TimePoint stop = kStart + seconds(12);
  int done = 0;
  Clock::duration longest{};
  // What it can carry at first, then twice that, and the overload is noticed.
  for (TimePoint now = kStart; now < stop; now += now < overload_at ? milliseconds(2) : milliseconds(1)) {
    for (; !ends.empty() && ends.top().at <= now; ends.pop()) {
      limiter.Leave(ends.top().begun, ends.top().at);
      if (ends.top().begun >= overload_at) {
        ++done;
        longest = std::max(longest, ends.top().at - ends.top().begun);
      }
    }
    if (!limiter.Admit(now >= overload_at, now)) continue;
    auto worker = std::min_element(free_at.begin(), free_at.end());
    *worker = std::max(*worker, now) + kCost;
    ends.push({*worker, now});
  }
  // 5000 is all that ten workers can do in ten seconds.
  EXPECT_GT(done, 4000);
  EXPECT_LT(longest, milliseconds(100));
}

}  // namespace
}  // namespace dragonfly::runtime
