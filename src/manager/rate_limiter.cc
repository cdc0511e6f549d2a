// SPDX-License-Identifier: Apache-2.0
#include "manager/rate_limiter.h"

#include <algorithm>
#include <cmath>
#include <cstdlib>
#include <functional>

#include "absl/status/statusor.h"
#include "base/status.h"
#include "base/text.h"
#include "redis/client.h"
#include "runtime/blocking_pool.h"
#include "telemetry/log.h"

namespace dragonfly::manager {
namespace {

namespace asio = boost::asio;

constexpr absl::Duration kComplaint = absl::Minutes(1);

double BurstOf(double rate) { return std::max(1.0, std::floor(rate)); }

// Returns the seconds to wait, or "0". Written for any release of Redis: its effects are what is replicated.
const redis::Script& TakeScript() {
  static const redis::Script script(R"(
redis.replicate_commands()
local interval = 1 / tonumber(ARGV[1])
local burst = tonumber(ARGV[2])
local time = redis.call('TIME')
local now = (tonumber(time[1]) - 1483228800) + tonumber(time[2]) / 1000000
local arrival = math.max(tonumber(redis.call('GET', KEYS[1]) or now), now)
local next = arrival + interval
local wait = (next - interval * burst) - now
if wait > 0 then return tostring(wait) end
redis.call('SET', KEYS[1], next, 'EX', math.ceil(next - now))
return '0')");
  return script;
}

}  // namespace

RateDecision RateLimiter::TakeHere(const std::string& name, double rate, absl::Time now) {
  if (rate <= 0) return RateDecision();
  const absl::Duration interval = absl::Seconds(1 / rate);
  absl::MutexLock lock(&mutex_);
  if (arrivals_.size() >= kNamesMax && !arrivals_.contains(name)) {
    std::erase_if(arrivals_, [now](const auto& entry) { return entry.second <= now; });
    // All of them busy: who is new is measured anew.
    if (arrivals_.size() >= kNamesMax) arrivals_.clear();
  }
  absl::Time& arrival = arrivals_.try_emplace(name, now).first->second;
  const absl::Time next = std::max(arrival, now) + interval;
  const absl::Duration wait = next - interval * BurstOf(rate) - now;
  if (wait > absl::ZeroDuration()) return RateDecision{false, wait};
  arrival = next;
  return RateDecision();
}

asio::awaitable<RateDecision> RateLimiter::Take(std::string name, double rate) {
  if (rate <= 0) co_return RateDecision();
  if (redis_ == nullptr) co_return TakeHere(name, rate, absl::Now());
  const std::function<absl::StatusOr<std::string>()> take = [this, name, rate]() -> absl::StatusOr<std::string> {
    DF_ASSIGN_OR_RETURN(const redis::Reply reply,
                        redis_->RunScript(TakeScript(), {StrCat("rate:", name)},
                                          {std::to_string(rate), std::to_string(BurstOf(rate))}));
    return reply.text;
  };
  const auto answer = co_await blocking_->Run<std::string>(take);
  if (answer.ok()) {
    const double wait = std::strtod(answer->c_str(), nullptr);
    co_return RateDecision{wait <= 0, absl::Seconds(std::max(0.0, wait))};
  }
  {
    absl::MutexLock lock(&mutex_);
    if (absl::Now() - complained_ > kComplaint) {
      complained_ = absl::Now();
      DF_LOG(Warn, "limits are measured in this process: {}", MessageOf(answer.status()));
    }
  }
  co_return TakeHere(name, rate, absl::Now());
}

}  // namespace dragonfly::manager
