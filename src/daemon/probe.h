// SPDX-License-Identifier: Apache-2.0
// The daemon's counters. Names and labels: client v1.0.0, dragonfly-client-metric/src/lib.rs; see docs/metrics.md.
#pragma once

#include <cstdint>
#include <memory>
#include <string>

#include "absl/time/time.h"
#include "base/ids.h"
#include "storage/piece_record.h"
#include "telemetry/metrics.h"

namespace dragonfly::daemon {

// Labels of a task's counters.
struct TaskLabels {
  TaskLabels() = default;
  TaskType type = TaskType::kStandard;
  std::string tag;
  std::string application;
  int priority = 0;
};

// Registers the families once; thread-safe. Several probes over one Metrics share their counters.
class Probe {
 public:
  explicit Probe(telemetry::Metrics& metrics);
  ~Probe();
  Probe(const Probe&) = delete;
  Probe& operator=(const Probe&) = delete;

  // A download by this daemon. Started and exactly one of the two ends.
  void DownloadStarted(const TaskLabels& labels);
  void DownloadFinished(const TaskLabels& labels, uint64_t content_length, absl::Duration cost);
  void DownloadFailed(const TaskLabels& labels);

  // Bytes that reached this host, by where they came from.
  void Traffic(storage::TrafficType from, TaskType type, uint64_t bytes);

  // A piece sent to another peer. Started and exactly one of the two ends.
  void UploadStarted();
  void UploadFinished(TaskType type, uint64_t bytes);
  void UploadFailed();
  // Pieces being sent now.
  int64_t concurrent_uploads() const;

  // A request to an origin.
  void BackendStarted(const std::string& scheme, const std::string& method);
  void BackendFinished(const std::string& scheme, const std::string& method, absl::Duration cost);
  void BackendFailed(const std::string& scheme, const std::string& method);

  // Calls of the gRPC services.
  void StatTaskStarted(TaskType type);
  void StatTaskFailed(TaskType type);
  void DeleteTaskStarted(TaskType type);
  void DeleteTaskFailed(TaskType type);
  void DeleteHostStarted();
  void DeleteHostFailed();

 private:
  struct State;
  std::unique_ptr<State> state_;
};

}  // namespace dragonfly::daemon
