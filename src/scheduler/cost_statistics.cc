// SPDX-License-Identifier: Apache-2.0
#include "scheduler/cost_statistics.h"

#include <chrono>
#include <cmath>

namespace dragonfly::scheduler {
namespace {

constexpr uint32_t kNormalDistributionFrom = 30;  // samples
constexpr double kOutlierFactor = 20;
constexpr double kOutlierSigmas = 3;

}  // namespace

void CostStatistics::Add(Clock::duration cost) {
  if (has_last_) {
    if (past_ >= kWindow) {
      past_ /= 2;
      m2_ /= 2;
    }
    ++past_;
    const double delta = last_ - mean_;
    mean_ += delta / past_;
    m2_ += delta * (last_ - mean_);
  }
  last_ = std::chrono::duration<double>(cost).count();
  has_last_ = true;
}

bool CostStatistics::LastIsOutlier() const {
  if (past_ == 0) return false;
  if (count() < kNormalDistributionFrom) return last_ > mean_ * kOutlierFactor;
  return last_ > mean_ + kOutlierSigmas * std::sqrt(m2_ / past_);
}

}  // namespace dragonfly::scheduler
