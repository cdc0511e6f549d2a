// SPDX-License-Identifier: Apache-2.0
#include "daemon/probe.h"

#include <prometheus/counter.h>
#include <prometheus/gauge.h>
#include <prometheus/histogram.h>
#include <prometheus/registry.h>

#include <algorithm>
#include <array>
#include <atomic>
#include <set>
#include <utility>

#include "absl/base/thread_annotations.h"
#include "absl/synchronization/mutex.h"
#include "base/text.h"

namespace dragonfly::daemon {
namespace {

using Labels = prometheus::Labels;
using Counters = prometheus::Family<prometheus::Counter>;
using Gauges = prometheus::Family<prometheus::Gauge>;
using Histograms = prometheus::Family<prometheus::Histogram>;

std::string TypeLabel(TaskType type) { return std::to_string(static_cast<int>(type)); }

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

// Counts a call, and one that failed.
struct CallCounters {
  Counters& all;
  Counters& failed;
  void Started(TaskType type) { all.Add({{"type", TypeLabel(type)}}).Increment(); }
  void Failed(TaskType type) { failed.Add({{"type", TypeLabel(type)}}).Increment(); }
};

CallCounters Calls(telemetry::Metrics& metrics, const char* name, const char* failure_name, const char* what) {
  return CallCounters{Count(metrics, name, StrCat(what, " calls.").c_str()),
                      Count(metrics, failure_name, StrCat(what, " calls that failed.").c_str())};
}

// Text of a stranger as a label: short, and UTF-8, or the page could not be read.
std::string LabelValue(std::string_view text) {
  constexpr size_t kLengthMax = 128;
  std::string value(text.substr(0, kLengthMax));
  for (char& c : value)
    if (static_cast<unsigned char>(c) >= 0x80 || static_cast<unsigned char>(c) < 0x20) c = '?';
  return value;
}

struct Probe::State {
  explicit State(telemetry::Metrics& metrics)
      : download_task(Count(metrics, "download_task_total", "Downloads that were started.")),
        download_task_failure(Count(metrics, "download_task_failure_total", "Downloads that failed.")),
        concurrent_download_task(Gauge(metrics, "concurrent_download_task_total", "Downloads that run.")),
        download_task_duration(
            Durations(metrics, "download_task_duration_milliseconds", "Time of finished downloads.")),
        prefetch_task(Count(metrics, "prefetch_task_total", "Prefetches that were started.")),
        prefetch_task_failure(Count(metrics, "prefetch_task_failure_total", "Prefetches that failed.")),
        concurrent_upload_piece(Gauge(metrics, "concurrent_upload_piece_total", "Pieces being sent to peers.").Add({})),
        download_traffic(Count(metrics, "download_traffic", "Bytes that reached this host, by where from.")),
        upload_traffic(Count(metrics, "upload_traffic", "Bytes sent to peers.")),
        upload_piece_failure(Count(metrics, "upload_piece_failure_total", "Pieces whose sending broke.").Add({})),
        backend_request(Count(metrics, "backend_request_total", "Requests to origins.")),
        backend_request_failure(Count(metrics, "backend_request_failure_total", "Requests to origins that failed.")),
        backend_request_duration(
            Durations(metrics, "backend_request_duration_milliseconds", "Time of good requests to origins.")),
        upload_task(Count(metrics, "upload_task_total", "Imports that were started.")),
        upload_task_failure(Count(metrics, "upload_task_failure_total", "Imports that failed.")),
        concurrent_upload_task(Gauge(metrics, "concurrent_upload_task_total", "Imports that run.")),
        upload_task_duration(Durations(metrics, "upload_task_duration_milliseconds", "Time of finished imports.")),
        proxy_request(Count(metrics, "proxy_request_total", "Requests to the proxy.").Add({})),
        proxy_request_failure(
            Count(metrics, "proxy_request_failure_total", "Requests to the proxy that failed.").Add({})),
        proxy_request_via_dfdaemon(
            Count(metrics, "proxy_request_via_dfdaemon_total", "Requests to the proxy that became downloads.").Add({})),
        stat_task(Calls(metrics, "stat_task_total", "stat_task_failure_total", "Stat")),
        stat_local_task(Calls(metrics, "stat_local_task_total", "stat_local_task_failure_total", "Local stat")),
        list_local_tasks(Calls(metrics, "list_local_tasks_total", "list_tasks_failure_total", "Local list")),
        list_task_entries(
            Calls(metrics, "list_task_entries_total", "list_task_entries_failure_total", "Directory list")),
        update_task(Calls(metrics, "update_task_total", "update_task_failure_total", "Update")),
        delete_task(Calls(metrics, "delete_task_total", "delete_task_failure_total", "Delete")),
        delete_local_task(Calls(metrics, "delete_local_task_total", "delete_local_task_failure_total", "Local delete")),
        delete_host(Count(metrics, "delete_host_total", "DeleteHost calls.").Add({})),
        delete_host_failure(Count(metrics, "delete_host_failure_total", "DeleteHost calls that failed.").Add({})),
        call_refused(Count(metrics, "call_refused_total", "Calls that were refused because of too much load.")),
        download_task_blocked(Count(metrics, "download_task_blocked_total", "Downloads that the block list forbids.")),
        upload_task_blocked(Count(metrics, "upload_task_blocked_total", "Uploads that the block list forbids.")),
        from_source(TrafficCounter("BACK_TO_SOURCE")),
        from_peer(TrafficCounter("REMOTE_PEER")),
        from_here(TrafficCounter("LOCAL_PEER")),
        to_peers(upload_traffic.Add({{"task_type", "0"}})) {}

  // The tag and the application, or "other" for both when too many pairs are known.
  std::pair<std::string, std::string> TagAndApplication(const TaskLabels& labels) {
    std::pair<std::string, std::string> pair(LabelValue(labels.tag), LabelValue(labels.application));
    absl::MutexLock lock(&mutex);
    if (pairs.contains(pair)) return pair;
    if (pairs.size() >= kLabelPairsMax) return {"other", "other"};
    pairs.insert(pair);
    return pair;
  }

  Labels OfDownload(const TaskLabels& labels) {
    const auto [tag, application] = TagAndApplication(labels);
    return Labels{{"type", TypeLabel(labels.type)},
                  {"tag", tag},
                  {"app", application},
                  {"priority", std::to_string(labels.priority)}};
  }

  Labels OfUpload(const TaskLabels& labels) {
    const auto [tag, application] = TagAndApplication(labels);
    return Labels{{"type", TypeLabel(labels.type)}, {"tag", tag}, {"app", application}};
  }

  prometheus::Counter& TrafficCounter(const char* type) {
    return download_traffic.Add({{"type", type}, {"task_type", "0"}});
  }

  Counters& download_task;
  Counters& download_task_failure;
  Gauges& concurrent_download_task;
  Histograms& download_task_duration;
  Counters& prefetch_task;
  Counters& prefetch_task_failure;
  prometheus::Gauge& concurrent_upload_piece;
  Counters& download_traffic;
  Counters& upload_traffic;
  prometheus::Counter& upload_piece_failure;
  Counters& backend_request;
  Counters& backend_request_failure;
  Histograms& backend_request_duration;
  Counters& upload_task;
  Counters& upload_task_failure;
  Gauges& concurrent_upload_task;
  Histograms& upload_task_duration;
  prometheus::Counter& proxy_request;
  prometheus::Counter& proxy_request_failure;
  prometheus::Counter& proxy_request_via_dfdaemon;
  CallCounters stat_task;
  CallCounters stat_local_task;
  CallCounters list_local_tasks;
  CallCounters list_task_entries;
  CallCounters update_task;
  CallCounters delete_task;
  CallCounters delete_local_task;
  prometheus::Counter& delete_host;
  prometheus::Counter& delete_host_failure;
  Counters& call_refused;
  Counters& download_task_blocked;
  Counters& upload_task_blocked;
  // Of standard tasks, looked up once: these change with every piece.
  prometheus::Counter& from_source;
  prometheus::Counter& from_peer;
  prometheus::Counter& from_here;
  prometheus::Counter& to_peers;
  std::atomic<int64_t> uploads = 0;
  std::atomic<telemetry::Tracer*> tracer = nullptr;
  absl::Mutex mutex;
  std::set<std::pair<std::string, std::string>> pairs ABSL_GUARDED_BY(mutex);
};

Probe::Probe(telemetry::Metrics& metrics) : state_(std::make_unique<State>(metrics)) {}
Probe::~Probe() = default;

void Probe::UseTracer(telemetry::Tracer* tracer) { state_->tracer = tracer; }

bool Probe::tracing() const { return state_->tracer.load(std::memory_order_relaxed) != nullptr; }

telemetry::SpanParent Probe::Under(telemetry::SpanContext caller) const {
  telemetry::Tracer* const tracer = state_->tracer.load(std::memory_order_acquire);
  return tracer == nullptr ? telemetry::SpanParent() : telemetry::SpanParent(tracer, std::move(caller));
}

void Probe::DownloadStarted(const TaskLabels& labels) {
  state_->download_task.Add(state_->OfDownload(labels)).Increment();
  state_->concurrent_download_task.Add(state_->OfDownload(labels)).Increment();
}

void Probe::DownloadFinished(const TaskLabels& labels, uint64_t content_length, absl::Duration cost) {
  state_->concurrent_download_task.Add(state_->OfDownload(labels)).Decrement();
  state_->download_task_duration
      .Add({{"task_type", TypeLabel(labels.type)}, {"task_size_level", SizeLevel(content_length)}}, DurationBuckets())
      .Observe(absl::ToDoubleMilliseconds(cost));
}

void Probe::DownloadFailed(const TaskLabels& labels) {
  state_->concurrent_download_task.Add(state_->OfDownload(labels)).Decrement();
  state_->download_task_failure.Add(state_->OfDownload(labels)).Increment();
}

void Probe::PrefetchStarted(const TaskLabels& labels) {
  state_->prefetch_task.Add(state_->OfDownload(labels)).Increment();
}
void Probe::PrefetchFailed(const TaskLabels& labels) {
  state_->prefetch_task_failure.Add(state_->OfDownload(labels)).Increment();
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

void Probe::UploadTaskStarted(const TaskLabels& labels) {
  state_->upload_task.Add(state_->OfUpload(labels)).Increment();
  state_->concurrent_upload_task.Add(state_->OfUpload(labels)).Increment();
}

void Probe::UploadTaskFinished(const TaskLabels& labels, uint64_t content_length, absl::Duration cost) {
  state_->concurrent_upload_task.Add(state_->OfUpload(labels)).Decrement();
  state_->upload_task_duration
      .Add({{"task_type", TypeLabel(labels.type)}, {"task_size_level", SizeLevel(content_length)}}, DurationBuckets())
      .Observe(absl::ToDoubleMilliseconds(cost));
}

void Probe::UploadTaskFailed(const TaskLabels& labels) {
  state_->concurrent_upload_task.Add(state_->OfUpload(labels)).Decrement();
  state_->upload_task_failure.Add(state_->OfUpload(labels)).Increment();
}

void Probe::ProxyRequestStarted() { state_->proxy_request.Increment(); }
void Probe::ProxyRequestFailed() { state_->proxy_request_failure.Increment(); }
void Probe::ProxyRequestViaDfdaemon() { state_->proxy_request_via_dfdaemon.Increment(); }

void Probe::StatTaskStarted(TaskType type) { state_->stat_task.Started(type); }
void Probe::StatTaskFailed(TaskType type) { state_->stat_task.Failed(type); }
void Probe::DeleteTaskStarted(TaskType type) { state_->delete_task.Started(type); }
void Probe::DeleteTaskFailed(TaskType type) { state_->delete_task.Failed(type); }
void Probe::UpdateTaskStarted(TaskType type) { state_->update_task.Started(type); }
void Probe::UpdateTaskFailed(TaskType type) { state_->update_task.Failed(type); }
void Probe::StatLocalTaskStarted(TaskType type) { state_->stat_local_task.Started(type); }
void Probe::StatLocalTaskFailed(TaskType type) { state_->stat_local_task.Failed(type); }
void Probe::DeleteLocalTaskStarted(TaskType type) { state_->delete_local_task.Started(type); }
void Probe::DeleteLocalTaskFailed(TaskType type) { state_->delete_local_task.Failed(type); }
void Probe::ListLocalTasksStarted(TaskType type) { state_->list_local_tasks.Started(type); }
void Probe::ListLocalTasksFailed(TaskType type) { state_->list_local_tasks.Failed(type); }
void Probe::ListTaskEntriesStarted(TaskType type) { state_->list_task_entries.Started(type); }
void Probe::ListTaskEntriesFailed(TaskType type) { state_->list_task_entries.Failed(type); }
void Probe::DeleteHostStarted() { state_->delete_host.Increment(); }
void Probe::CallRefused(const std::string& server, const std::string& reason) {
  state_->call_refused.Add({{"server", server}, {"reason", reason}}).Increment();
}
void Probe::DownloadBlocked(TaskType type) {
  state_->download_task_blocked.Add({{"type", TypeLabel(type)}}).Increment();
}
void Probe::UploadBlocked(TaskType type) { state_->upload_task_blocked.Add({{"type", TypeLabel(type)}}).Increment(); }
void Probe::DeleteHostFailed() { state_->delete_host_failure.Increment(); }

}  // namespace dragonfly::daemon
