// SPDX-License-Identifier: Apache-2.0
// Bounds how many calls hold something large at the same time.
#pragma once

#include <boost/asio/awaitable.hpp>
#include <cstddef>
#include <utility>

#include "absl/base/thread_annotations.h"
#include "absl/synchronization/mutex.h"
#include "runtime/signal.h"

namespace dragonfly::daemon {

// Thread-safe; must outlive its permits.
class Admission {
 public:
  explicit Admission(size_t limit) : free_(limit) {}

  // Gives its place back when it is destroyed.
  class Permit {
   public:
    Permit() = default;
    explicit Permit(Admission* owner) : owner_(owner) {}
    Permit(Permit&& other) noexcept : owner_(std::exchange(other.owner_, nullptr)) {}
    Permit& operator=(Permit&&) = delete;
    ~Permit() {
      if (owner_ != nullptr) owner_->Leave();
    }

   private:
    Admission* owner_ = nullptr;
  };

  // Waits for a place.
  boost::asio::awaitable<Permit> Enter() {
    for (;;) {
      const uint64_t seen = left_.version();
      if (TryEnter()) co_return Permit(this);
      co_await left_.Wait(seen);
    }
  }

 private:
  bool TryEnter() {
    absl::MutexLock lock(&mutex_);
    if (free_ == 0) return false;
    --free_;
    return true;
  }
  void Leave() {
    {
      absl::MutexLock lock(&mutex_);
      ++free_;
    }
    left_.Notify();
  }

  absl::Mutex mutex_;
  size_t free_ ABSL_GUARDED_BY(mutex_);
  runtime::Signal left_;
};

}  // namespace dragonfly::daemon
