// SPDX-License-Identifier: Apache-2.0
// Tells coroutines that something has changed: a condition variable for them.
#pragma once

#include <boost/asio/awaitable.hpp>
#include <cstdint>
#include <memory>

#include "runtime/clock.h"

namespace dragonfly::runtime {

// A counter of changes that can be waited for. The pattern that loses no change:
//
//   for (;;) {
//     const uint64_t seen = signal.version();
//     if (<the state is as wanted>) break;
//     if (!co_await signal.Wait(seen, deadline)) <deadline passed>;
//   }
//
// Thread rule: every method from any thread; a waiter resumes on its own executor, which must be single-threaded (an
// io_context of IoThreads, or a strand). Copies share one counter, so a waiter may outlive the object that notifies.
class Signal {
 public:
  Signal();

  // How often Notify() was called.
  uint64_t version() const;
  // Wakes all waiters. Cheap when nobody waits.
  void Notify();
  // Returns true as soon as version() != seen, false when `deadline` passes first. Cancellation throws
  // boost::system::system_error(operation_aborted).
  boost::asio::awaitable<bool> Wait(uint64_t seen, TimePoint deadline = kNoDeadline) const;

 private:
  struct State;
  std::shared_ptr<State> state_;
};

}  // namespace dragonfly::runtime
