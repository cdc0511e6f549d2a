// SPDX-License-Identifier: Apache-2.0
// The bucket is kept as one point in time, full_at_: the moment at which it would be full again. Taking tokens moves it
// by amount / rate. Tokens are there as long as it lies no further ahead than a full bucket takes to fill; beyond that
// the distance is what the taker has to wait. Bookings add up, so takers are served in the order of their bookings.
#include "runtime/token_bucket.h"

#include <algorithm>
#include <limits>

#include "runtime/timeout.h"

namespace dragonfly::runtime {

namespace {

// Time in which `rate` fills `amount`, rounded up and capped at a century, so that sums of a few do not overflow.
Clock::duration FillTime(uint64_t amount, uint64_t rate) {
  constexpr uint64_t kLongest = 100ull * 365 * 24 * 3600 * 1'000'000'000;
  const unsigned __int128 nanoseconds = (static_cast<unsigned __int128>(amount) * 1'000'000'000 + rate - 1) / rate;
  const uint64_t capped = nanoseconds > kLongest ? kLongest : static_cast<uint64_t>(nanoseconds);
  return std::chrono::duration_cast<Clock::duration>(std::chrono::nanoseconds(capped));
}

}  // namespace

TokenBucket::TokenBucket(uint64_t rate, uint64_t burst)
    : rate_(rate), burst_(burst != 0 ? burst : std::max<uint64_t>(rate / 4, 1)), full_at_(TimePoint::min()) {}

Clock::duration TokenBucket::Reserve(uint64_t amount, TimePoint now) {
  if (unlimited() || amount == 0) return Clock::duration::zero();
  const Clock::duration cost = FillTime(amount, rate_);
  absl::MutexLock lock(&mutex_);
  const TimePoint from = std::max(full_at_, now);
  full_at_ = TimePoint::max() - from < cost ? TimePoint::max() : from + cost;
  return std::max(full_at_ - now - FillTime(burst_, rate_), Clock::duration::zero());
}

boost::asio::awaitable<void> TokenBucket::Take(uint64_t amount) {
  if (unlimited()) co_return;
  const TimePoint now = Clock::now();
  const Clock::duration wait = Reserve(amount, now);
  if (wait > Clock::duration::zero()) co_await SleepUntil(now + wait);
}

}  // namespace dragonfly::runtime
