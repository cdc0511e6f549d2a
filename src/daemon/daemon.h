// SPDX-License-Identifier: Apache-2.0
// A peer: store, piece server, gRPC services, scheduler link and announcements, put together.
//
//   dfget ──unix socket──▶ download service ──▶ task manager ──▶ store
//   peers, schedulers ──TCP──▶ upload service ──┘     │  ▲
//   HTTP clients ──TCP──▶ proxy ────────────────┤  ▲
//   peers ──Vortex──▶ piece server ───────────────────┼──┘ (reads)
//                             schedulers ◀── link ────┘
//                             schedulers ◀── announcer
//
// Many daemons can live in one process: nothing is global, and they share the threads that are handed in.
#pragma once

#include <cstdint>
#include <memory>
#include <string>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "daemon/config.h"
#include "daemon/host_identity.h"
#include "runtime/blocking_pool.h"
#include "runtime/clock.h"
#include "runtime/io_threads.h"

namespace dragonfly::daemon {

class Daemon {
 public:
  // Starts everything in the order in which it is needed and returns when the daemon serves; the socket for programs on
  // this host appears last. Waits a moment for a scheduler that knows this host; without one the daemon serves all the
  // same, says so in the log, and goes on looking. Blocks; not to be called on a thread of `io`. `io` and `blocking`
  // must outlive the daemon. Errors: what could not be opened or bound, by name; then nothing is left running.
  static absl::StatusOr<std::unique_ptr<Daemon>> Start(const DaemonConfig& config, runtime::IoThreads& io,
                                                       runtime::BlockingPool& blocking);
  // Stops at once when Stop() was not called.
  ~Daemon();
  Daemon(const Daemon&) = delete;
  Daemon& operator=(const Daemon&) = delete;

  const HostIdentity& identity() const;
  const std::string& socket_path() const;
  // The ports that are really bound.
  uint16_t upload_port() const;
  uint16_t vortex_port() const;
  uint16_t quic_port() const;
  uint16_t proxy_port() const;
  uint16_t health_port() const;
  uint16_t metrics_port() const;
  uint16_t stats_port() const;  // 0: its port was taken
  // How many schedulers serve now.
  size_t scheduler_count() const;

  // Takes no new work, leaves the schedulers' books, lets what runs end until `deadline` and cuts the rest. Blocks; not
  // to be called on a thread of `io`. Errors: DEADLINE_EXCEEDED when something had to be cut. Later calls do nothing.
  absl::Status Stop(TimePoint deadline);

 private:
  struct State;
  explicit Daemon(std::unique_ptr<State> state);
  std::unique_ptr<State> state_;
};

}  // namespace dragonfly::daemon
