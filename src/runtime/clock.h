// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <chrono>

namespace dragonfly {

// The clock of every deadline: monotonic, never set back.
using Clock = std::chrono::steady_clock;
using TimePoint = Clock::time_point;

// A deadline that never comes.
inline constexpr TimePoint kNoDeadline = TimePoint::max();

}  // namespace dragonfly
