// SPDX-License-Identifier: Apache-2.0
// Metrics that tell a state of the host: the disk of the store, and which program runs. Names: client v1.0.0,
// dragonfly-client/src/metrics/mod.rs.
#pragma once

#include <memory>
#include <string>

#include "telemetry/metrics.h"

namespace dragonfly::daemon {

// Thread-safe.
class HostGauges {
 public:
  HostGauges(telemetry::Metrics& metrics, std::string storage_dir);
  ~HostGauges();
  // Reads the disk; before each scrape.
  void Refresh();

 private:
  struct State;
  std::unique_ptr<State> state_;
};

}  // namespace dragonfly::daemon
