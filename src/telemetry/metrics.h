// SPDX-License-Identifier: Apache-2.0
// The metrics of one server, in Prometheus' model. Each module's probe class registers its families here by
// constructor.
#pragma once

#include <memory>
#include <string>

namespace prometheus {
class Registry;
}

namespace dragonfly::telemetry {

// Owns a registry, so that several servers in one process (tests, standalone) keep apart. Thread-safe.
class Metrics {
 public:
  Metrics();
  ~Metrics();
  prometheus::Registry& registry();
  // The text exposition format 0.0.4 of the registry, and process_* metrics of this process.
  std::string Render() const;
  // From now on Render() counts from here: counters and histograms of the registry begin at 0 again. Gauges tell a
  // state, not a sum, and stay.
  void Reset();

 private:
  struct State;
  std::unique_ptr<State> state_;
};

}  // namespace dragonfly::telemetry
