// SPDX-License-Identifier: Apache-2.0
#include "runtime/adaptive_limiter.h"

#include <algorithm>
#include <chrono>
#include <cmath>

namespace dragonfly::runtime {
namespace {

// Shorter times say more about the clock and the scheduler of the machine than about what the process can carry.
constexpr Clock::duration kShortest = std::chrono::milliseconds(1);

AdaptiveLimiter::Options Sane(AdaptiveLimiter::Options options) {
  options.bucket_count = std::clamp<size_t>(options.bucket_count, 1, 100'000);
  options.bucket_interval = std::max<Clock::duration>(options.bucket_interval, std::chrono::milliseconds(1));
  return options;
}

double Seconds(Clock::duration duration) { return std::chrono::duration<double>(duration).count(); }

}  // namespace

AdaptiveLimiter::AdaptiveLimiter(const Options& options) : options_(Sane(options)), buckets_(options_.bucket_count) {}

int64_t AdaptiveLimiter::NumberOf(TimePoint at) const { return at.time_since_epoch() / options_.bucket_interval; }

std::optional<AdaptiveLimiter::Permit> AdaptiveLimiter::Enter(bool overloaded, TimePoint now) {
  if (!Admit(overloaded, now)) return std::nullopt;
  return Permit(this, now);
}

bool AdaptiveLimiter::Admit(bool overloaded, TimePoint now) {
  absl::MutexLock lock(&mutex_);
  if (overloaded || (cooling_until_ && now < *cooling_until_)) {
    const std::optional<uint64_t> capacity = CapacityLocked(now);
    if (capacity && in_flight_ >= *capacity) {
      if (overloaded) cooling_until_ = now + options_.cooldown;
      return false;
    }
  }
  ++in_flight_;
  return true;
}

void AdaptiveLimiter::Leave(TimePoint begun, TimePoint now) {
  absl::MutexLock lock(&mutex_);
  --in_flight_;
  const int64_t number = NumberOf(now);
  Bucket& bucket = buckets_[static_cast<size_t>(number) % buckets_.size()];
  if (bucket.number != number) bucket = Bucket{number, 0, Clock::duration::max()};
  ++bucket.ends;
  bucket.shortest = std::min(bucket.shortest, std::max(now - begun, kShortest));
}

std::optional<uint64_t> AdaptiveLimiter::Capacity(TimePoint now) const {
  absl::MutexLock lock(&mutex_);
  return CapacityLocked(now);
}

std::optional<uint64_t> AdaptiveLimiter::CapacityLocked(TimePoint now) const {
  const int64_t oldest = NumberOf(now) - static_cast<int64_t>(buckets_.size());
  uint64_t most = 0;
  Clock::duration shortest = Clock::duration::max();
  for (const Bucket& bucket : buckets_) {
    if (bucket.number <= oldest || bucket.ends == 0) continue;
    most = std::max(most, bucket.ends);
    shortest = std::min(shortest, bucket.shortest);
  }
  if (most == 0) return std::nullopt;
  const double capacity = static_cast<double>(most) / Seconds(options_.bucket_interval) * Seconds(shortest);
  return std::max<uint64_t>(1, static_cast<uint64_t>(std::llround(std::min(capacity, 1e15))));
}

uint64_t AdaptiveLimiter::in_flight() const {
  absl::MutexLock lock(&mutex_);
  return in_flight_;
}

}  // namespace dragonfly::runtime
