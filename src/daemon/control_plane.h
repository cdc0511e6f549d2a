// SPDX-License-Identifier: Apache-2.0
// Who directs this daemon: the source of its dynamic configuration, the manager if there is one, and the schedulers.
#pragma once

#include <boost/asio/awaitable.hpp>
#include <boost/asio/io_context.hpp>
#include <memory>
#include <string>

#include "absl/status/statusor.h"
#include "daemon/config.h"
#include "daemon/dynconfig.h"
#include "daemon/host_identity.h"
#include "daemon/scheduler_set.h"
#include "runtime/blocking_pool.h"
#include "runtime/clock.h"
#include "telemetry/trace.h"

namespace dragonfly::daemon {

// Thread rule: every method from any thread; coroutines resume on the caller's executor.
class ControlPlane {
 public:
  // By scheduler.addrs, else manager.addr, else the file dynconfig.path, else without any scheduler. Reads files,
  // connects to nobody. `tracer`: of the calls, may be null. Of `identity` only what is known before the servers are
  // bound is used. Everything must outlive the object. Errors: INVALID_ARGUMENT and NOT_FOUND naming the key or the
  // file that is wrong.
  static absl::StatusOr<std::unique_ptr<ControlPlane>> Make(const DaemonConfig& config, const HostIdentity& identity,
                                                            boost::asio::io_context& io,
                                                            runtime::BlockingPool& blocking,
                                                            telemetry::Tracer* tracer = nullptr);
  // Stop() must have completed if Start() was called.
  ~ControlPlane();
  ControlPlane(const ControlPlane&) = delete;
  ControlPlane& operator=(const ControlPlane&) = delete;

  // Begins to look for schedulers.
  void Start();
  // A seed peer tells the manager of itself; others, and daemons without a manager, do nothing. `identity` with the
  // bound ports.
  void AnnounceToManager(const HostIdentity& identity);
  // Takes what AnnounceToManager() has told back. Returns by `deadline`. Must be awaited before Stop().
  boost::asio::awaitable<void> LeaveManager(TimePoint deadline);
  boost::asio::awaitable<void> Stop();

  Dynconfig& dynconfig();
  SchedulerSet& schedulers();
  // Whether somebody is named who could tell about schedulers.
  bool wants_schedulers() const;

 private:
  struct State;
  explicit ControlPlane(std::unique_ptr<State> state);
  const std::unique_ptr<State> state_;
};

}  // namespace dragonfly::daemon
