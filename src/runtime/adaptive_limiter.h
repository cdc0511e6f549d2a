// SPDX-License-Identifier: Apache-2.0
// Sheds load when the process runs out of memory or CPU time: as many requests are let in as it has been seen to carry
// when it was fastest. After the limiter of client v1.5.1, dragonfly-client-util/src/ratelimiter/bbr.rs; docs/limits.md
// tells where it differs.
#pragma once

#include <cstddef>
#include <cstdint>
#include <optional>
#include <utility>
#include <vector>

#include "absl/base/thread_annotations.h"
#include "absl/synchronization/mutex.h"
#include "runtime/clock.h"

namespace dragonfly::runtime {

// Requests of one kind, of which the times are comparable. Two numbers are remembered of each `bucket_interval` within
// the last `bucket_count` of them: how many requests ended, and the shortest time that one took (1 ms at least). By
// Little's law
//
//   capacity = most ends in a bucket x buckets in a second x shortest time in seconds
//
// requests can be under way when the process works at its best. While it is overloaded, and for `cooldown` after the
// last refusal of such a time, no more than that (but always one) are let in. Whoever is let in is counted until his
// Permit goes, so a stream counts until it has ended. Thread-safe.
class AdaptiveLimiter {
 public:
  struct Options {
    Options() = default;
    size_t bucket_count = 50;
    Clock::duration bucket_interval = std::chrono::milliseconds(200);
    Clock::duration cooldown = std::chrono::seconds(5);
  };
  // Numbers of 0 are taken as the smallest that makes sense.
  explicit AdaptiveLimiter(const Options& options);

  // A request that is under way.
  class Permit {
   public:
    Permit() = default;
    Permit(Permit&& other) noexcept : owner_(std::exchange(other.owner_, nullptr)), begun_(other.begun_) {}
    Permit& operator=(Permit&& other) noexcept {
      std::swap(owner_, other.owner_);
      std::swap(begun_, other.begun_);
      return *this;
    }
    ~Permit() {
      if (owner_ != nullptr) owner_->Leave(begun_, Clock::now());
    }

   private:
    friend class AdaptiveLimiter;
    Permit(AdaptiveLimiter* owner, TimePoint begun) : owner_(owner), begun_(begun) {}
    AdaptiveLimiter* owner_ = nullptr;
    TimePoint begun_;
  };

  // Lets a request in, or refuses it (nullopt). The limiter must outlive the permit.
  std::optional<Permit> Enter(bool overloaded, TimePoint now);

  // Enter() and the end of the permit, for who keeps the books himself (virtual time). An Admit() that returned true is
  // answered by one Leave().
  bool Admit(bool overloaded, TimePoint now);
  void Leave(TimePoint begun, TimePoint now);

  // Requests that may be under way at once; nullopt when none has ended lately.
  std::optional<uint64_t> Capacity(TimePoint now) const;
  uint64_t in_flight() const;

 private:
  struct Bucket {
    int64_t number = -1;  // since the clock's epoch
    uint64_t ends = 0;
    Clock::duration shortest = Clock::duration::max();
  };
  int64_t NumberOf(TimePoint at) const;
  std::optional<uint64_t> CapacityLocked(TimePoint now) const ABSL_EXCLUSIVE_LOCKS_REQUIRED(mutex_);

  const Options options_;
  mutable absl::Mutex mutex_;
  std::vector<Bucket> buckets_ ABSL_GUARDED_BY(mutex_);  // of number n: n modulo the size
  uint64_t in_flight_ ABSL_GUARDED_BY(mutex_) = 0;
  std::optional<TimePoint> cooling_until_ ABSL_GUARDED_BY(mutex_);
};

}  // namespace dragonfly::runtime
