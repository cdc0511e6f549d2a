// SPDX-License-Identifier: Apache-2.0
// The scheduler as one object: started, asked for its port, stopped.
#pragma once

#include <cstdint>
#include <memory>

#include "absl/status/statusor.h"
#include "runtime/clock.h"
#include "runtime/io_threads.h"
#include "scheduler/config.h"

namespace dragonfly::telemetry {
class Metrics;
}

namespace dragonfly::scheduler {

// Serves scheduler.v2.Scheduler: standard tasks, one shard per io thread.
class Scheduler {
 public:
  // `io` must outlive the scheduler. Errors: UNAVAILABLE naming an address that cannot be bound, INVALID_ARGUMENT
  // naming a TLS file or the metrics address.
  static absl::StatusOr<std::unique_ptr<Scheduler>> Start(const SchedulerConfig& config, runtime::IoThreads& io);
  // Stop() must have returned.
  ~Scheduler();

  // Of the gRPC server.
  uint16_t port() const;
  // Of the metrics server; 0 when there is none.
  uint16_t metrics_port() const;
  // For whoever serves the metrics of several parts in one process.
  telemetry::Metrics& metrics();

  // Health turns NOT_SERVING; open streams may end until `deadline` and are cut then. Blocks; not to be called on a
  // thread of `io`.
  void Stop(TimePoint deadline);

 private:
  struct State;
  explicit Scheduler(std::unique_ptr<State> state);
  std::unique_ptr<State> state_;
};

}  // namespace dragonfly::scheduler
