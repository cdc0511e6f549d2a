// SPDX-License-Identifier: Apache-2.0
#include "source/attempts.h"

#include <algorithm>

#include "runtime/timeout.h"

namespace dragonfly::source {

boost::asio::awaitable<bool> Attempts::Next(std::optional<std::chrono::milliseconds> retry_after) {
  if (made_ >= options_.retries) co_return false;
  Clock::duration wait = options_.backoff_max;
  if (made_ < 30) wait = std::min<Clock::duration>(wait, options_.backoff_min * (int64_t{1} << made_));
  wait = std::chrono::duration_cast<Clock::duration>(wait * absl::Uniform(random_, 0.5, 1.0));
  if (retry_after.has_value()) {
    if (*retry_after > options_.retry_after_max) co_return false;
    wait = *retry_after;
  }
  ++made_;
  const TimePoint now = Clock::now();
  if (deadline_ - now <= wait) co_return false;
  co_await runtime::SleepUntil(now + wait);
  co_return true;
}

}  // namespace dragonfly::source
