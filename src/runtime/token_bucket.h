// SPDX-License-Identifier: Apache-2.0
// Bandwidth limits: one bucket per direction, shared by all tasks, taken in chunks while bytes stream.
#pragma once

#include <boost/asio/awaitable.hpp>
#include <chrono>
#include <cstdint>
#include <functional>
#include <optional>

#include "absl/base/thread_annotations.h"
#include "absl/synchronization/mutex.h"
#include "runtime/clock.h"

namespace dragonfly::runtime {

// Of which size the whole is that tokens are taken for; see TokenBucket::SizeOf().
enum class TransferSize { kLarge, kSmall };

// Grants `rate` tokens (bytes) a second with bursts of at most `burst`, in the order of the bookings, so transfers that
// take chunk after chunk get equal parts. Small transfers may pass large ones with up to three quarters of the rate, so
// that a manifest does not wait behind the megabytes of a hundred layers; large ones pass a flood of small ones with up
// to a quarter. The rate holds for all together. Thread-safe.
class TokenBucket {
 public:
  // rate 0 means unlimited. burst 0 means a tenth of a second's worth.
  explicit TokenBucket(uint64_t rate, uint64_t burst = 0);

  // For a transfer whose limit may change while it runs: all that is asked of this one is asked of the bucket that
  // `choose` names just then, on whatever thread asks.
  explicit TokenBucket(std::function<TokenBucket&()> choose);

  bool unlimited() const { return rate() == 0; }
  uint64_t rate() const { return choose_ ? choose_().rate() : rate_; }

  // How many tokens a transfer should take at a time: about 16 ms worth, at least 16 KiB and at most 4 MiB; when
  // unlimited, the most.
  uint64_t chunk() const;
  // kSmall for a transfer of at most 25 ms worth, or 64 KiB where that is more, and never above 1 MiB.
  TransferSize SizeOf(uint64_t whole) const;

  // Books `amount` tokens at `now` and returns how long the taker must wait before it may use them (0: at once). An
  // amount above the burst is granted too, after the time that it takes. A booking cannot be given back.
  Clock::duration Reserve(uint64_t amount, TimePoint now, TransferSize size = TransferSize::kLarge);

  // The same, but books nothing and returns nullopt when the wait would be longer than `longest`.
  std::optional<Clock::duration> ReserveWithin(uint64_t amount, TimePoint now, Clock::duration longest);

  // Reserve() and the wait. Returns without suspending when tokens are there.
  boost::asio::awaitable<void> Take(uint64_t amount, TransferSize size = TransferSize::kLarge);

  // Takes `amount` chunk by chunk, for a transfer that cannot be held back while it runs.
  boost::asio::awaitable<void> TakeInChunks(uint64_t amount);

 private:
  // What only one kind of transfers moves.
  struct Part {
    explicit Part(uint64_t r) : rate(r) {}
    const uint64_t rate;
    TimePoint full_at = TimePoint::min();
  };
  Clock::duration WaitFor(TimePoint full_at, TimePoint now) const;

  const std::function<TokenBucket&()> choose_;
  const uint64_t rate_;
  const Clock::duration burst_time_;  // in which the burst fills
  absl::Mutex mutex_;
  TimePoint full_at_ ABSL_GUARDED_BY(mutex_) = TimePoint::min();  // when it will be full again, if nobody takes
  Part large_ ABSL_GUARDED_BY(mutex_);
  Part small_ ABSL_GUARDED_BY(mutex_);
};

}  // namespace dragonfly::runtime
