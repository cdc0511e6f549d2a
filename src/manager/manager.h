// SPDX-License-Identifier: Apache-2.0
// The manager as one object: started, asked for its ports, stopped.
#pragma once

#include <cstdint>
#include <memory>
#include <string>

#include "absl/status/statusor.h"
#include "manager/config.h"
#include "runtime/clock.h"
#include "runtime/io_threads.h"

namespace dragonfly::telemetry {
class Metrics;
}

namespace dragonfly::manager {

class Manager {
 public:
  // Makes or completes the database, then serves. Blocks while the database does. `io` must outlive the manager.
  // Errors: UNAVAILABLE naming a database that does not answer or an address that cannot be bound; INVALID_ARGUMENT
  // naming a file that cannot be used.
  static absl::StatusOr<std::unique_ptr<Manager>> Start(const ManagerConfig& config, runtime::IoThreads& io);
  // Stop() must have returned.
  ~Manager();

  uint16_t grpc_port() const;
  uint16_t rest_port() const;
  // Of the metrics server; 0 when there is none.
  uint16_t metrics_port() const;
  telemetry::Metrics& metrics();
  // Of the user root, when this start has made the user with a password that nobody chose; else empty. To be shown
  // once: only its hash is kept.
  const std::string& first_password() const;

  // Health turns NOT_SERVING; open calls may end until `deadline`. Blocks; not to be called on a thread of `io`.
  void Stop(TimePoint deadline);

 private:
  struct State;
  explicit Manager(std::unique_ptr<State> state);
  std::unique_ptr<State> state_;
};

}  // namespace dragonfly::manager
