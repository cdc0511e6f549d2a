// SPDX-License-Identifier: Apache-2.0
// Bandwidth limits: one bucket per direction, shared by all tasks, taken in chunks while bytes stream.
#pragma once

#include <boost/asio/awaitable.hpp>
#include <chrono>
#include <cstdint>

#include "absl/base/thread_annotations.h"
#include "absl/synchronization/mutex.h"
#include "runtime/clock.h"

namespace dragonfly::runtime {

// Grants `rate` tokens (bytes) a second with bursts of at most `burst`. Takers are served in order of arrival.
// Thread-safe.
class TokenBucket {
 public:
  // rate 0 means unlimited. burst 0 means a quarter of a second's worth.
  explicit TokenBucket(uint64_t rate, uint64_t burst = 0);

  bool unlimited() const { return rate_ == 0; }
  uint64_t rate() const { return rate_; }

  // Books `amount` tokens at `now` and returns how long the taker must wait before it may use them (0: at once). An
  // amount above the burst is granted too, after the time that it takes.
  Clock::duration Reserve(uint64_t amount, TimePoint now);

  // Reserve() and the wait. Returns without suspending when tokens are there.
  boost::asio::awaitable<void> Take(uint64_t amount);

 private:
  const uint64_t rate_;
  const uint64_t burst_;
  absl::Mutex mutex_;
  TimePoint full_at_ ABSL_GUARDED_BY(mutex_);  // when the bucket will be full again, if nobody takes
};

}  // namespace dragonfly::runtime
