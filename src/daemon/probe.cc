// SPDX-License-Identifier: Apache-2.0
#include "daemon/probe.h"

#include <prometheus/counter.h>
#include <prometheus/gauge.h>
#include <prometheus/histogram.h>
#include <prometheus/registry.h>

#include <algorithm>
#include <array>
#include <atomic>

namespace dragonfly::daemon {
namespace {

using Labels = prometheus::Labels;
using Counters = prometheus::Family<prometheus::Counter>;
using Gauges = prometheus::Family<prometheus::Gauge>;
using Histograms = prometheus::Family<prometheus::Histogram>;

std::string TypeLabel(TaskType type) { return std::to_string(static_cast<int>(type)); }

Labels TaskLabelSet(const TaskLabels& labels) {
  return Labels{{"type", TypeLabel(labels.type)},
                {"tag", labels.tag},
                {"app", labels.application},
                {"priority", std::to_string(labels.priority)}};
}

// 1, 2, 4 ... 2^23 milliseconds.
prometheus::Histogram::BucketBoundaries DurationBuckets() {
  prometheus::Histogram::BucketBoundaries buckets;
  for (int power = 0; power < 24; ++power) buckets.push_back(static_cast<double>(1 << power));
  return buckets;
}

// Level of a task's size: 0 for an empty one, then below 1 MiB, 4 MiB, 8 MiB ... 1 TiB, and 20 from there on.
std::string SizeLevel(uint64_t bytes) {
  constexpr uint64_t kMiB = 1ull << 20;
  constexpr std::array<uint64_t, 19> kBounds = {
      kMiB,         4 * kMiB,      8 * kMiB,      16 * kMiB,     32 * kMiB,     64 * kMiB,    128 * kMiB,
      256 * kMiB,   512 * kMiB,    1024 * kMiB,   4096 * kMiB,   8192 * kMiB,   16384 * kMiB, 32768 * kMiB,
      65536 * kMiB, 131072 * kMiB, 262144 * kMiB, 524288 * kMiB, 1048576 * kMiB};
  if (bytes == 0) return "0";
  const auto bound = std::upper_bound(kBounds.begin(), kBounds.end(), bytes);
  return std::to_string(1 + (bound - kBounds.begin()));
}

Counters& Count(telemetry::Metrics& metrics, const char* name, const char* help) {
  return prometheus::BuildCounter()
      .Name(std::string("dragonfly_client_") + name)
      .Help(help)
      .Register(metrics.registry());
}
Gauges& Gauge(telemetry::Metrics& metrics, const char* name, const char* help) {
  return prometheus::BuildGauge().Name(std::string("dragonfly_client_") + name).Help(help).Register(metrics.registry());
}
Histograms& Durations(telemetry::Metrics& metrics, const char* name, const char* help) {
  return prometheus::BuildHistogram()
      .Name(std::string("dragonfly_client_") + name)
      .Help(help)
      .Register(metrics.registry());
}

}  // namespace

struct Probe::State {
  explicit State(telemetry::Metrics& metrics)
      : download_task(Count(metrics, "download_task_total", "Downloads that were started.")),
        download_task_failure(Count(metrics, "download_task_failure_total", "Downloads that failed.")),
        concurrent_download_task(Gauge(metrics, "concurrent_download_task_total", "Downloads that run.")),
        download_task_duration(
            Durations(metrics, "download_task_duration_milliseconds", "Time of finished downloads.")),
        concurrent_upload_piece(Gauge(metrics, "concurrent_upload_piece_total", "Pieces being sent to peers.").Add({})),
        download_traffic(Count(metrics, "download_traffic", "Bytes that reached this host, by where from.")),
        upload_traffic(Count(metrics, "upload_traffic", "Bytes sent to peers.")),
        upload_piece_failure(Count(metrics, "upload_piece_failure_total", "Pieces whose sending broke.").Add({})),
        backend_request(Count(metrics, "backend_request_total", "Requests to origins.")),
        backend_request_failure(Count(metrics, "backend_request_failure_total", "Requests to origins that failed.")),
        backend_request_duration(
            Durations(metrics, "backend_request_duration_milliseconds", "Time of good requests to origins.")),
        stat_task(Count(metrics, "stat_task_total", "Stat calls.")),
        stat_task_failure(Count(metrics, "stat_task_failure_total", "Stat calls that failed.")),
        delete_task(Count(metrics, "delete_task_total", "Delete calls.")),
        delete_task_failure(Count(metrics, "delete_task_failure_total", "Delete calls that failed.")),
        delete_host(Count(metrics, "delete_host_total", "DeleteHost calls.").Add({})),
        delete_host_failure(Count(metrics, "delete_host_failure_total", "DeleteHost calls that failed.").Add({})),
        from_source(TrafficCounter("BACK_TO_SOURCE")),
        from_peer(TrafficCounter("REMOTE_PEER")),
        from_here(TrafficCounter("LOCAL_PEER")),
        to_peers(upload_traffic.Add({{"task_type", "0"}})) {}

  prometheus::Counter& TrafficCounter(const char* type) {
    return download_traffic.Add({{"type", type}, {"task_type", "0"}});
  }

  Counters& download_task;
  Counters& download_task_failure;
  Gauges& concurrent_download_task;
  Histograms& download_task_duration;
  prometheus::Gauge& concurrent_upload_piece;
  Counters& download_traffic;
  Counters& upload_traffic;
  prometheus::Counter& upload_piece_failure;
  Counters& backend_request;
  Counters& backend_request_failure;
  Histograms& backend_request_duration;
  Counters& stat_task;
  Counters& stat_task_failure;
  Counters& delete_task;
  Counters& delete_task_failure;
  prometheus::Counter& delete_host;
  prometheus::Counter& delete_host_failure;
  // Of standard tasks, looked up once: these change with every piece.
  prometheus::Counter& from_source;
  prometheus::Counter& from_peer;
  prometheus::Counter& from_here;
  prometheus::Counter& to_peers;
  std::atomic<int64_t> uploads = 0;
};

Probe::Probe(telemetry::Metrics& metrics) : state_(std::make_unique<State>(metrics)) {}
Probe::~Probe() = default;

void Probe::DownloadStarted(const TaskLabels& labels) {
  state_->download_task.Add(TaskLabelSet(labels)).Increment();
  state_->concurrent_download_task.Add(TaskLabelSet(labels)).Increment();
}

void Probe::DownloadFinished(const TaskLabels& labels, uint64_t content_length, absl::Duration cost) {
  state_->concurrent_download_task.Add(TaskLabelSet(labels)).Decrement();
  state_->download_task_duration
      .Add({{"task_type", TypeLabel(labels.type)}, {"task_size_level", SizeLevel(content_length)}}, DurationBuckets())
      .Observe(absl::ToDoubleMilliseconds(cost));
}

void Probe::DownloadFailed(const TaskLabels& labels) {
  state_->concurrent_download_task.Add(TaskLabelSet(labels)).Decrement();
  state_->download_task_failure.Add(TaskLabelSet(labels)).Increment();
}

void Probe::Traffic(storage::TrafficType from, TaskType type, uint64_t bytes) {
  const double amount = static_cast<double>(bytes);
  if (type != TaskType::kStandard) {
    static constexpr const char* kNames[] = {"BACK_TO_SOURCE", "REMOTE_PEER", "LOCAL_PEER"};
    state_->download_traffic.Add({{"type", kNames[static_cast<int>(from)]}, {"task_type", TypeLabel(type)}})
        .Increment(amount);
    return;
  }
  switch (from) {
    case storage::TrafficType::kBackToSource:
      state_->from_source.Increment(amount);
      break;
    case storage::TrafficType::kRemotePeer:
      state_->from_peer.Increment(amount);
      break;
    case storage::TrafficType::kLocalPeer:
      state_->from_here.Increment(amount);
      break;
  }
}

void Probe::UploadStarted() {
  ++state_->uploads;
  state_->concurrent_upload_piece.Increment();
}

void Probe::UploadFinished(TaskType type, uint64_t bytes) {
  --state_->uploads;
  state_->concurrent_upload_piece.Decrement();
  prometheus::Counter& counter =
      type == TaskType::kStandard ? state_->to_peers : state_->upload_traffic.Add({{"task_type", TypeLabel(type)}});
  counter.Increment(static_cast<double>(bytes));
}

void Probe::UploadFailed() {
  --state_->uploads;
  state_->concurrent_upload_piece.Decrement();
  state_->upload_piece_failure.Increment();
}

int64_t Probe::concurrent_uploads() const { return state_->uploads; }

void Probe::BackendStarted(const std::string& scheme, const std::string& method) {
  state_->backend_request.Add({{"scheme", scheme}, {"method", method}}).Increment();
}

void Probe::BackendFinished(const std::string& scheme, const std::string& method, absl::Duration cost) {
  state_->backend_request_duration.Add({{"scheme", scheme}, {"method", method}}, DurationBuckets())
      .Observe(absl::ToDoubleMilliseconds(cost));
}

void Probe::BackendFailed(const std::string& scheme, const std::string& method) {
  state_->backend_request_failure.Add({{"scheme", scheme}, {"method", method}}).Increment();
}

void Probe::StatTaskStarted(TaskType type) { state_->stat_task.Add({{"type", TypeLabel(type)}}).Increment(); }
void Probe::StatTaskFailed(TaskType type) { state_->stat_task_failure.Add({{"type", TypeLabel(type)}}).Increment(); }
void Probe::DeleteTaskStarted(TaskType type) { state_->delete_task.Add({{"type", TypeLabel(type)}}).Increment(); }
void Probe::DeleteTaskFailed(TaskType type) {
  state_->delete_task_failure.Add({{"type", TypeLabel(type)}}).Increment();
}
void Probe::DeleteHostStarted() { state_->delete_host.Increment(); }
void Probe::DeleteHostFailed() { state_->delete_host_failure.Increment(); }

}  // namespace dragonfly::daemon
