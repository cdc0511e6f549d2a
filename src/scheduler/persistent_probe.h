// SPDX-License-Identifier: Apache-2.0
// What the scheduler counts about persistent cache tasks. Names and labels: dragonfly v2.3.0,
// scheduler/metrics/metrics.go; the gauge is our own.
#pragma once

#include <cstdint>
#include <memory>

#include "absl/status/status.h"

namespace dragonfly::telemetry {
class Metrics;
}

namespace dragonfly::scheduler {

enum class PersistentCall : uint8_t {
  kAnnouncePeer,
  kStatPeer,
  kDeletePeer,
  kUploadStarted,
  kUploadFinished,
  kUploadFailed,
  kStatTask,
  kDeleteTask,
};
// Steps of a download, labelled by the type of the host.
enum class PersistentStep : uint8_t { kRegister, kStarted, kFinished, kPieceFinished };

// Thread-safe.
class PersistentProbe {
 public:
  // `metrics` must outlive the probe.
  explicit PersistentProbe(telemetry::Metrics& metrics);
  ~PersistentProbe();
  PersistentProbe(const PersistentProbe&) = delete;
  PersistentProbe& operator=(const PersistentProbe&) = delete;

  void Count(PersistentCall call, const absl::Status& result);
  // `host_type` as announced.
  void Count(PersistentStep step, uint32_t host_type, const absl::Status& result);
  // Tasks that miss a replica.
  void SetBelow(uint64_t tasks);

 private:
  struct State;
  std::unique_ptr<State> state_;
};

}  // namespace dragonfly::scheduler
