// SPDX-License-Identifier: Apache-2.0
// The bucket is kept as one point in time, full_at_: the moment at which it would be full again. Taking tokens moves it
// by amount / rate. Tokens are there as long as it lies no further ahead than a full bucket takes to fill; beyond that
// the distance is what the taker has to wait. Bookings add up, so takers are served in the order of their bookings.
//
// Small transfers have a second such point that only they move, at three quarters of the rate, and large ones have one
// at a quarter. Everybody moves the first point and his own, and waits for whichever is nearer: that of all while there
// is room, his own when the other kind has booked more than its part. Who passes moves the first point ahead of those
// that he passes, so their next bookings pay for it.
#include "runtime/token_bucket.h"

#include <algorithm>
#include <limits>
#include <utility>

#include "runtime/timeout.h"

namespace dragonfly::runtime {

namespace {

constexpr uint64_t kChunkMin = 16 << 10;
constexpr uint64_t kChunkMax = 4 << 20;
constexpr uint64_t kSmallMin = 64 << 10;
constexpr uint64_t kSmallMax = 1 << 20;

// Time in which `rate` fills `amount`, rounded up and capped at a century, so that sums of a few do not overflow.
Clock::duration FillTime(uint64_t amount, uint64_t rate) {
  constexpr uint64_t kLongest = 100ull * 365 * 24 * 3600 * 1'000'000'000;
  const unsigned __int128 nanoseconds = (static_cast<unsigned __int128>(amount) * 1'000'000'000 + rate - 1) / rate;
  const uint64_t capped = nanoseconds > kLongest ? kLongest : static_cast<uint64_t>(nanoseconds);
  return std::chrono::duration_cast<Clock::duration>(std::chrono::nanoseconds(capped));
}

// `full_at`, or now when that has passed, moved on by `cost`.
TimePoint Moved(TimePoint full_at, TimePoint now, Clock::duration cost) {
  const TimePoint from = std::max(full_at, now);
  return TimePoint::max() - from < cost ? TimePoint::max() : from + cost;
}

}  // namespace

TokenBucket::TokenBucket(uint64_t rate, uint64_t burst)
    : rate_(rate),
      burst_time_(rate == 0    ? Clock::duration::zero()
                  : burst == 0 ? std::chrono::milliseconds(100)
                               : FillTime(burst, rate)),
      large_(std::max<uint64_t>(rate / 4, 1)),
      small_(std::max<uint64_t>(rate - rate / 4, 1)) {}

TokenBucket::TokenBucket(std::function<TokenBucket&()> choose)
    : choose_(std::move(choose)), rate_(0), burst_time_(Clock::duration::zero()), large_(1), small_(1) {}

uint64_t TokenBucket::chunk() const {
  const uint64_t rate = this->rate();
  return rate == 0 ? kChunkMax : std::clamp(rate / 64, kChunkMin, kChunkMax);
}

TransferSize TokenBucket::SizeOf(uint64_t whole) const {
  return whole <= std::clamp(rate() / 40, kSmallMin, kSmallMax) ? TransferSize::kSmall : TransferSize::kLarge;
}

Clock::duration TokenBucket::WaitFor(TimePoint full_at, TimePoint now) const {
  return std::max(full_at - now - burst_time_, Clock::duration::zero());
}

Clock::duration TokenBucket::Reserve(uint64_t amount, TimePoint now, TransferSize size) {
  if (choose_) return choose_().Reserve(amount, now, size);
  if (unlimited() || amount == 0) return Clock::duration::zero();
  absl::MutexLock lock(&mutex_);
  full_at_ = Moved(full_at_, now, FillTime(amount, rate_));
  Part& part = size == TransferSize::kSmall ? small_ : large_;
  part.full_at = Moved(part.full_at, now, FillTime(amount, part.rate));
  const Clock::duration wait = std::min(WaitFor(full_at_, now), WaitFor(part.full_at, now));
  // What was there for the taking is no debt of the part.
  part.full_at = std::min(part.full_at, now + wait + burst_time_);
  return wait;
}

std::optional<Clock::duration> TokenBucket::ReserveWithin(uint64_t amount, TimePoint now, Clock::duration longest) {
  if (choose_) return choose_().ReserveWithin(amount, now, longest);
  if (unlimited() || amount == 0) return Clock::duration::zero();
  absl::MutexLock lock(&mutex_);
  const TimePoint full_at = Moved(full_at_, now, FillTime(amount, rate_));
  const Clock::duration wait = WaitFor(full_at, now);
  if (wait > longest) return std::nullopt;
  full_at_ = full_at;
  return wait;
}

boost::asio::awaitable<void> TokenBucket::Take(uint64_t amount, TransferSize size) {
  if (unlimited()) co_return;
  const TimePoint now = Clock::now();
  const Clock::duration wait = Reserve(amount, now, size);
  if (wait > Clock::duration::zero()) co_await SleepUntil(now + wait);
}

boost::asio::awaitable<void> TokenBucket::TakeInChunks(uint64_t amount) {
  if (unlimited()) co_return;
  const TransferSize size = SizeOf(amount);
  while (amount > 0) {
    const uint64_t part = std::min(amount, chunk());
    co_await Take(part, size);
    amount -= part;
  }
}

}  // namespace dragonfly::runtime
