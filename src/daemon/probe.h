// SPDX-License-Identifier: Apache-2.0
// What the daemon tells about itself: counters, and where its spans begin. Names and labels: client v1.0.0 and v1.5.1,
// dragonfly-client-metric/src/lib.rs; see docs/telemetry.md.
#pragma once

#include <cstdint>
#include <memory>
#include <string>

#include "absl/time/time.h"
#include "base/ids.h"
#include "storage/piece_record.h"
#include "telemetry/metrics.h"
#include "telemetry/trace.h"

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
  // Tags and applications come from strangers: so many different pairs have series of their own, further ones count as
  // "other".
  static constexpr size_t kLabelPairsMax = 256;

  explicit Probe(telemetry::Metrics& metrics);
  ~Probe();
  Probe(const Probe&) = delete;
  Probe& operator=(const Probe&) = delete;

  // From here on spans are recorded. Once, before the first span; `tracer` must outlive the probe's use, or be null.
  void UseTracer(telemetry::Tracer* tracer);
  bool tracing() const;
  // Where a span stands that nobody asked for, and one that answers a caller.
  telemetry::SpanParent Root() const { return Under(telemetry::SpanContext()); }
  telemetry::SpanParent Under(telemetry::SpanContext caller) const;

  // A download by this daemon. Started and exactly one of the two ends.
  void DownloadStarted(const TaskLabels& labels);
  void DownloadFinished(const TaskLabels& labels, uint64_t content_length, absl::Duration cost);
  void DownloadFailed(const TaskLabels& labels);

  // A download of the whole file in the background, because a range of it was asked for.
  void PrefetchStarted(const TaskLabels& labels);
  void PrefetchFailed(const TaskLabels& labels);

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

  // A file of this host that is imported. Started and exactly one of the two ends.
  void UploadTaskStarted(const TaskLabels& labels);
  void UploadTaskFinished(const TaskLabels& labels, uint64_t content_length, absl::Duration cost);
  void UploadTaskFailed(const TaskLabels& labels);

  // A request to the proxy; some of them become downloads of this daemon.
  void ProxyRequestStarted();
  void ProxyRequestFailed();
  void ProxyRequestViaDfdaemon();

  // Calls of the gRPC services. The local ones ask this host only.
  void StatTaskStarted(TaskType type);
  void StatTaskFailed(TaskType type);
  void DeleteTaskStarted(TaskType type);
  void DeleteTaskFailed(TaskType type);
  void UpdateTaskStarted(TaskType type);
  void UpdateTaskFailed(TaskType type);
  void StatLocalTaskStarted(TaskType type);
  void StatLocalTaskFailed(TaskType type);
  void DeleteLocalTaskStarted(TaskType type);
  void DeleteLocalTaskFailed(TaskType type);
  void ListLocalTasksStarted(TaskType type);
  void ListLocalTasksFailed(TaskType type);
  void ListTaskEntriesStarted(TaskType type);
  void ListTaskEntriesFailed(TaskType type);
  void DeleteHostStarted();
  void DeleteHostFailed();
  // Calls that were not let in: by `server` ("download", "upload") and why ("overload", "rate").
  void CallRefused(const std::string& server, const std::string& reason);
  // Tasks that the operators' block list forbids.
  void DownloadBlocked(TaskType type);
  void UploadBlocked(TaskType type);

 private:
  struct State;
  std::unique_ptr<State> state_;
};

}  // namespace dragonfly::daemon
