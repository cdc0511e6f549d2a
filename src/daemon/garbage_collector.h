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
#include "telemetry/trace.h"

namespace dragonfly::daemon {

// Runs its passes in the background, the first at once: ages and idle memory every `interval`, space every ten seconds
// since a full disk fails downloads; as often, files that nobody has used meanwhile are closed. A download that finds
// the disk or the budget full is given room at once, on its own thread (ContentStore::SetRoomMaker). Thread rule: every
// method from any thread.
class GarbageCollector {
 public:
  struct Parts {
    boost::asio::io_context& io;
    runtime::BlockingPool& blocking;
    storage::ContentStore& store;
    SchedulerLink& schedulers;                   // told of every task that goes
    std::function<bool(const TaskId&)> running;  // any thread
    telemetry::SpanParent trace;                 // of the spans of what is evicted
  };
  // Everything must outlive the collector, and be good until Stop() has completed.
  GarbageCollector(GarbagePolicy policy, absl::Duration interval, Parts parts);
  // Stop() must have completed if Start() was called.
  ~GarbageCollector();

  void Start();
  boost::asio::awaitable<void> Stop();
  // All passes, now. Returns how many tasks went.
  boost::asio::awaitable<size_t> RunOnce();

  // Evicts what nobody uses, least recently used first, until `bytes` more can be written; never `keep`. Returns the
  // bytes that got free; 0, and nothing is evicted, when they would not be enough. Blocks for as long as unlinking
  // takes. The schedulers hear of it soon after, when Start() was called.
  uint64_t MakeRoom(const TaskId& keep, uint64_t bytes);

 private:
  struct State;
  std::shared_ptr<State> state_;
};

}  // namespace dragonfly::daemon
