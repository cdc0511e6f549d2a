// SPDX-License-Identifier: Apache-2.0
// How many jobs a second each scheduler cluster takes, for all managers together. Key and form of the state in Redis:
// github.com/go-redis/redis_rate v10.0.1, which dragonfly v2.3.0 uses (manager/ratelimiter), so that original managers
// and ours count together.
#pragma once

#include <boost/asio/awaitable.hpp>
#include <cstdint>
#include <map>
#include <memory>
#include <vector>

#include "absl/base/thread_annotations.h"
#include "absl/status/status.h"
#include "absl/synchronization/mutex.h"
#include "absl/time/time.h"
#include "redis/client.h"
#include "runtime/blocking_pool.h"

namespace dragonfly::manager {

// Any thread.
class JobLimiter {
 public:
  struct Limit {
    uint64_t cluster = 0;
    double rate = 10;  // a second, and at once
  };

  // `redis` may be null: this manager counts alone then.
  explicit JobLimiter(std::unique_ptr<redis::Client> redis);

  // Takes one of each, or none. Errors: RESOURCE_EXHAUSTED "rate limit exceeded", with the time after which it may
  // succeed in `retry_after`; UNAVAILABLE and others of Redis.
  boost::asio::awaitable<absl::Status> Take(std::vector<Limit> limits, absl::Duration* retry_after);

 private:
  absl::Status TakeAtRedis(const std::vector<Limit>& limits, absl::Duration* retry_after);
  absl::Status TakeHere(const std::vector<Limit>& limits, absl::Time now, absl::Duration* retry_after);

  const std::unique_ptr<redis::Client> redis_;
  runtime::BlockingPool pool_{4, 10'000};
  absl::Mutex mutex_;
  std::map<uint64_t, absl::Time> here_ ABSL_GUARDED_BY(mutex_);  // theoretical arrival times
};

}  // namespace dragonfly::manager
