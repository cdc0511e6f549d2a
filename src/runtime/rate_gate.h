// SPDX-License-Identifier: Apache-2.0
// Refuses calls beyond a rate.
#pragma once

#include <atomic>

#include "runtime/clock.h"

namespace dragonfly::runtime {

// Admits `rate` calls a second, and one second's worth at once. Lock-free; any thread.
class RateGate {
 public:
  // 0: everything is admitted.
  explicit RateGate(double rate) : rate_(rate) {}
  bool Admit(TimePoint now);

 private:
  const double rate_;
  std::atomic<Clock::rep> free_at_{0};  // when the calls admitted so far have used up their time
};

}  // namespace dragonfly::runtime
