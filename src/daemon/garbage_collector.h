// SPDX-License-Identifier: Apache-2.0
// Keeps the content of a daemon within its age and its space.
#pragma once

#include <boost/asio/awaitable.hpp>
#include <boost/asio/io_context.hpp>
#include <cstdint>
#include <functional>
#include <memory>

#include "absl/time/time.h"
#include "base/ids.h"
#include "daemon/garbage_policy.h"
#include "daemon/scheduler_link.h"
#include "runtime/blocking_pool.h"
#include "storage/content_store.h"

namespace dragonfly::daemon {

// Runs both passes in the background: the first at once, ages every `interval`, space more often since a full disk
// fails downloads. Thread rule: every method from any thread.
class GarbageCollector {
 public:
  struct Parts {
    boost::asio::io_context& io;
    runtime::BlockingPool& blocking;
    storage::ContentStore& store;
    SchedulerLink& schedulers;  // told of every task that goes
    std::function<bool(const TaskId&)> running;
  };
  // Everything must outlive the collector.
  GarbageCollector(GarbagePolicy policy, absl::Duration interval, Parts parts);
  // Stop() must have completed if Start() was called.
  ~GarbageCollector();

  void Start();
  boost::asio::awaitable<void> Stop();
  // Both passes, now. Returns how many tasks went.
  boost::asio::awaitable<size_t> RunOnce();

 private:
  struct State;
  std::shared_ptr<State> state_;
};

}  // namespace dragonfly::daemon
