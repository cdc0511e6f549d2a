// SPDX-License-Identifier: Apache-2.0
// The manager's metrics, by the names of dragonfly v2.3.0, manager/metrics/metrics.go.
#pragma once

#include <cstdint>
#include <memory>
#include <string>

namespace dragonfly::telemetry {
class Metrics;
}

namespace dragonfly::manager {

// Thread-safe. Labels that strangers fill are bounded: what comes after the first hundred counts as "other".
class Probe {
 public:
  explicit Probe(telemetry::Metrics& metrics);
  ~Probe();

  void CountSearch(const std::string& version, const std::string& commit);
  void CountSearchFailure(const std::string& version, const std::string& commit);
  void CountJob(const std::string& type);
  void CountJobSuccess(const std::string& type);
  // A request to the REST API: `route` is its pattern ("/api/v1/users/:id"), not its path.
  void CountRequest(int status, const std::string& method, const std::string& route, double seconds);
  // Of a request and its answer, in bytes.
  void CountSizes(uint64_t request, uint64_t response);

 private:
  struct State;
  std::unique_ptr<State> state_;
};

}  // namespace dragonfly::manager
