// SPDX-License-Identifier: Apache-2.0
// Keeps this host known to every scheduler of the cluster.
#pragma once

#include <boost/asio/awaitable.hpp>
#include <boost/asio/io_context.hpp>
#include <chrono>
#include <memory>
#include <optional>
#include <string>

#include "absl/status/status.h"
#include "absl/time/time.h"
#include "daemon/host_info.h"
#include "daemon/scheduler_set.h"
#include "runtime/clock.h"
#include "telemetry/trace.h"

namespace dragonfly::daemon {

struct AnnouncerOptions {
  AnnouncerOptions() = default;
  absl::Duration interval = absl::Seconds(300);             // told to the schedulers, and kept
  Clock::duration retry_interval{std::chrono::seconds(2)};  // after a failed announcement
  Clock::duration call_timeout{std::chrono::seconds(15)};
  telemetry::SpanParent trace;
};

// Announces to a scheduler when it is first seen, when its connection was lost and has come back, and every interval.
// Thread rule: every method from any thread; coroutines resume on the caller's executor.
class Announcer {
 public:
  // Everything must outlive the announcer.
  Announcer(AnnouncerOptions options, boost::asio::io_context& io, SchedulerSet& schedulers, HostInfo& host);
  // Stop() must have completed if Start() was called.
  ~Announcer();
  Announcer(const Announcer&) = delete;
  Announcer& operator=(const Announcer&) = delete;

  void Start();
  // Completes when a scheduler has taken the announcement (true), or at `deadline`.
  boost::asio::awaitable<bool> WaitUntilKnown(TimePoint deadline);
  // When a scheduler took an announcement last; nullopt before the first.
  std::optional<TimePoint> last_known() const;
  // Announces to one scheduler now, whenever it was last done.
  boost::asio::awaitable<absl::Status> AnnounceTo(std::string address);
  boost::asio::awaitable<void> Stop();

 private:
  struct State;
  std::shared_ptr<State> state_;
};

}  // namespace dragonfly::daemon
