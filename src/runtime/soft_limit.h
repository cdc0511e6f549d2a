// SPDX-License-Identifier: Apache-2.0
// A bound on what runs at once that nothing can wait behind for ever.
#pragma once

#include <boost/asio/awaitable.hpp>
#include <cstddef>
#include <memory>
#include <utility>

#include "runtime/clock.h"

namespace dragonfly::runtime {

// Lets `slots` users in at once, and beyond them one more each `pace`, in the order in which they came. So a burst is
// worked off a part at a time, while users that hold their slots for long, as downloads from a slow origin do, cannot
// keep others out, nor can two limits whose users wait for each other block.
// Thread rule: every method from any thread; who waits resumes on its own executor, which must be single-threaded.
class SoftLimit {
 public:
  // Gives its slot back when it goes. May outlive the limit.
  class Slot;

  // `slots`: at least 1.
  SoftLimit(size_t slots, Clock::duration pace);

  // Cancellation throws boost::system::system_error(operation_aborted).
  boost::asio::awaitable<Slot> Enter();

  // Users that are in, and users that wait.
  size_t held() const;
  size_t waiting() const;

 private:
  struct State;
  struct Waiter;
  std::shared_ptr<State> state_;
};

class SoftLimit::Slot {
 public:
  Slot() = default;
  Slot(Slot&& other) noexcept = default;
  Slot& operator=(Slot&& other) noexcept {
    std::swap(state_, other.state_);
    return *this;
  }
  ~Slot();

 private:
  friend class SoftLimit;
  explicit Slot(std::shared_ptr<State> state) : state_(std::move(state)) {}
  std::shared_ptr<State> state_;
};

}  // namespace dragonfly::runtime
