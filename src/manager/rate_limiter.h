// SPDX-License-Identifier: Apache-2.0
// How many requests one address, user or cluster may make in a second: the generic cell rate algorithm, in Redis as the
// original keeps it (go-redis/redis_rate v10: key "rate:<name>", a time counted from 2017-01-01), so that all managers
// on it share one measure; without Redis, in this process.
#pragma once

#include <boost/asio/awaitable.hpp>
#include <cstddef>
#include <map>
#include <string>

#include "absl/base/thread_annotations.h"
#include "absl/synchronization/mutex.h"
#include "absl/time/time.h"

namespace dragonfly::redis {
class Client;
}
namespace dragonfly::runtime {
class BlockingPool;
}

namespace dragonfly::manager {

struct RateDecision {
  bool allowed = true;
  absl::Duration retry_after;  // when it is not
};

// Any thread. A Redis that does not answer leaves each manager with a measure of its own, until it answers again.
class RateLimiter {
 public:
  static constexpr size_t kNamesMax = 20'000;  // in this process; beyond, those that are free again are forgotten

  // `redis` and `blocking` (which its calls run on) may be null together; both must outlive the limiter.
  RateLimiter(redis::Client* redis, runtime::BlockingPool* blocking) : redis_(redis), blocking_(blocking) {}

  // Takes one of `rate` a second, and as many as `rate` (at least one) at once. A rate of 0 or less is none: everything
  // is allowed. `name` is shared by all who ask with it: "address:10.0.0.1", "<cluster>-job".
  boost::asio::awaitable<RateDecision> Take(std::string name, double rate);

  // The same in this process, at `now`.
  RateDecision TakeHere(const std::string& name, double rate, absl::Time now);

 private:
  redis::Client* const redis_;
  runtime::BlockingPool* const blocking_;
  absl::Mutex mutex_;
  // When what was taken has been made good for.
  std::map<std::string, absl::Time> arrivals_ ABSL_GUARDED_BY(mutex_);
  absl::Time complained_ ABSL_GUARDED_BY(mutex_) = absl::InfinitePast();
};

}  // namespace dragonfly::manager
