// SPDX-License-Identifier: Apache-2.0
// Tells a parent that has become slow from one that is merely slower than others, in constant time and memory.
#pragma once

#include <cstdint>

#include "runtime/clock.h"

namespace dragonfly::scheduler {

// Running mean and deviation of piece costs, the last one kept apart (Welford's method).
//
// The verdict is the original's (dragonfly v2.3.0, scheduler/scheduling/evaluator/evaluator_base.go): fewer than two
// costs tell nothing; below thirty the last is an outlier above twenty times the mean of the others; from thirty on
// above their mean plus three standard deviations.
//
// Old costs fade: beyond kWindow samples the weight of the past is halved, so a parent is judged by its last few
// thousand pieces.
class CostStatistics {
 public:
  static constexpr uint32_t kWindow = 2048;

  void Add(Clock::duration cost);
  // True when the last cost is an outlier.
  bool LastIsOutlier() const;
  uint32_t count() const { return past_ + (has_last_ ? 1 : 0); }

 private:
  double mean_ = 0;  // seconds, of all but the last
  double m2_ = 0;    // sum of squared differences from the mean
  double last_ = 0;
  uint32_t past_ = 0;
  bool has_last_ = false;
};

}  // namespace dragonfly::scheduler
