// SPDX-License-Identifier: Apache-2.0
// Notices when the daemon runs out of memory or CPU time.
#pragma once

#include <atomic>
#include <boost/asio/awaitable.hpp>
#include <boost/asio/io_context.hpp>
#include <functional>

#include "runtime/clock.h"
#include "runtime/process_usage.h"
#include "runtime/task_group.h"

namespace dragonfly::daemon {

// Samples the use of memory and CPU time every `collect_interval`. Thread-safe.
class OverloadMonitor {
 public:
  struct Options {
    Options() = default;
    uint64_t cpu_threshold = 100;  // percent; from 100 on, the CPU is not looked at
    uint64_t memory_threshold = 90;
    Clock::duration collect_interval = std::chrono::seconds(3);
  };
  // `io` must outlive it. `sample` is called on its thread.
  OverloadMonitor(const Options& options, boost::asio::io_context& io,
                  std::function<runtime::LoadSample(TimePoint)> sample);
  // Stop() must have completed if Start() was called.
  ~OverloadMonitor() = default;

  void Start();
  boost::asio::awaitable<void> Stop();

  bool overloaded() const { return overloaded_.load(std::memory_order_relaxed); }
  // One sample, now; on the thread of `io`.
  void Look();

 private:
  boost::asio::awaitable<void> Run();

  const Options options_;
  const std::function<runtime::LoadSample(TimePoint)> sample_;
  std::atomic<bool> overloaded_ = false;
  runtime::TaskGroup tasks_;
};

}  // namespace dragonfly::daemon
