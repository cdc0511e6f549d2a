// SPDX-License-Identifier: Apache-2.0
#include "runtime/rate_gate.h"

#include <algorithm>
#include <chrono>

namespace dragonfly::runtime {

bool RateGate::Admit(TimePoint now) {
  if (rate_ <= 0) return true;
  constexpr Clock::rep kSecond = std::chrono::duration_cast<Clock::duration>(std::chrono::seconds(1)).count();
  const auto cost = static_cast<Clock::rep>(static_cast<double>(kSecond) / rate_);
  const Clock::rep at = now.time_since_epoch().count();
  Clock::rep free_at = free_at_.load(std::memory_order_relaxed);
  for (;;) {
    const Clock::rep next = std::max(free_at, at) + cost;
    if (next > at + kSecond) return false;
    if (free_at_.compare_exchange_weak(free_at, next, std::memory_order_relaxed)) return true;
  }
}

}  // namespace dragonfly::runtime
