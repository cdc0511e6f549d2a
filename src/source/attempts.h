// SPDX-License-Identifier: Apache-2.0
// How often a call asks its origin again, and how long it waits in between.
#pragma once

#include <boost/asio/awaitable.hpp>
#include <chrono>
#include <optional>

#include "absl/random/random.h"
#include "runtime/clock.h"
#include "source/source.h"

namespace dragonfly::source {

// Counts the attempts of one call of a source. Thread rule: the source's. References must outlive it.
class Attempts {
 public:
  Attempts(const SourceOptions& options, absl::BitGen& random, TimePoint deadline)
      : options_(options), random_(random), deadline_(deadline) {}

  // Waits and returns true when there may be another attempt; false when none is left, when the deadline comes first,
  // or when the origin asks for a longer wait (`retry_after`) than is granted.
  boost::asio::awaitable<bool> Next(std::optional<std::chrono::milliseconds> retry_after = std::nullopt);

 private:
  const SourceOptions& options_;
  absl::BitGen& random_;
  const TimePoint deadline_;
  int made_ = 0;
};

}  // namespace dragonfly::source
