// SPDX-License-Identifier: Apache-2.0
#include "manager/job_limiter.h"

#include <algorithm>
#include <cstdlib>
#include <functional>

#include "base/status.h"
#include "base/text.h"
#include "redis/script.h"

namespace dragonfly::manager {
namespace {

constexpr char kExceeded[] = "rate limit exceeded";

// The generic cell rate algorithm, for all keys or none: KEYS are "rate:<cluster>-job", ARGV their rates, which are
// their bursts as well. Times are seconds since 2017 in the server's clock. Returns how long to wait, "0" when taken.
const redis::Script& TakeScript() {
  static const redis::Script script(R"(
if redis.replicate_commands then redis.replicate_commands() end
local time = redis.call('TIME')
local now = (time[1] - 1483228800) + time[2] / 1000000
local wait = 0
local next = {}
for i, key in ipairs(KEYS) do
  local interval = 1 / ARGV[i]
  local arrival = math.max(tonumber(redis.call('GET', key) or now), now)
  next[i] = arrival + interval
  wait = math.max(wait, next[i] - interval * ARGV[i] - now)
end
-- A clock in microseconds, kept with six digits.
if wait > 0.00001 then return tostring(wait) end
for i, key in ipairs(KEYS) do
  redis.call('SET', key, string.format('%.6f', next[i]), 'EX', math.ceil(next[i] - now))
end
return '0'
)");
  return script;
}

}  // namespace

JobLimiter::JobLimiter(std::unique_ptr<redis::Client> redis) : redis_(std::move(redis)) {}

absl::Status JobLimiter::TakeAtRedis(const std::vector<Limit>& limits, absl::Duration* retry_after) {
  std::vector<std::string> keys, rates;
  for (const Limit& limit : limits) {
    keys.push_back(StrCat("rate:", limit.cluster, "-job"));
    rates.push_back(StrCat(limit.rate));
  }
  absl::StatusOr<redis::Reply> reply = redis_->RunScript(TakeScript(), keys, rates);
  // Of a cluster, whose nodes have some of the keys each: one after another, as the original does it.
  if (redis::IsError(reply.status(), "CROSSSLOT")) {
    for (size_t i = 0; i < keys.size(); ++i) {
      reply = redis_->RunScript(TakeScript(), {keys[i]}, {rates[i]});
      if (!reply.ok() || reply->text != "0") break;
    }
  }
  if (!reply.ok()) return reply.status();
  if (reply->text == "0") return absl::OkStatus();
  *retry_after = absl::Seconds(std::strtod(reply->text.c_str(), nullptr));
  return absl::ResourceExhaustedError(kExceeded);
}

absl::Status JobLimiter::TakeHere(const std::vector<Limit>& limits, absl::Time now, absl::Duration* retry_after) {
  const absl::MutexLock lock(&mutex_);
  absl::Duration wait = absl::ZeroDuration();
  for (const Limit& limit : limits) {
    const absl::Duration interval = absl::Seconds(1) / limit.rate;
    const absl::Time next = std::max(here_[limit.cluster], now) + interval;
    wait = std::max(wait, next - interval * limit.rate - now);
  }
  if (wait > absl::Microseconds(1)) {
    *retry_after = wait;
    return absl::ResourceExhaustedError(kExceeded);
  }
  for (const Limit& limit : limits) {
    absl::Time& arrival = here_[limit.cluster];
    arrival = std::max(arrival, now) + absl::Seconds(1) / limit.rate;
  }
  return absl::OkStatus();
}

boost::asio::awaitable<absl::Status> JobLimiter::Take(std::vector<Limit> limits, absl::Duration* retry_after) {
  if (limits.empty()) co_return absl::OkStatus();
  if (redis_ == nullptr) co_return TakeHere(limits, absl::Now(), retry_after);
  absl::Duration wait;
  const std::function<absl::Status()> take = [this, &limits, &wait] { return TakeAtRedis(limits, &wait); };
  absl::Status status = co_await pool_.Run(take);
  *retry_after = wait;
  co_return status;
}

}  // namespace dragonfly::manager
