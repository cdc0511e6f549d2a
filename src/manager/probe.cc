// SPDX-License-Identifier: Apache-2.0
#include "manager/probe.h"

#include <prometheus/counter.h>
#include <prometheus/gauge.h>
#include <prometheus/histogram.h>
#include <prometheus/registry.h>
#include <prometheus/summary.h>
#include <sys/utsname.h>

#include <set>
#include <utility>

#include "absl/base/thread_annotations.h"
#include "absl/synchronization/mutex.h"
#include "base/text.h"
#include "base/version.h"
#include "telemetry/metrics.h"

namespace dragonfly::manager {
namespace {

using prometheus::Counter;
using prometheus::Family;
using prometheus::Histogram;

constexpr size_t kStrangersMax = 100;
constexpr size_t kLabelMax = 64;

Family<Counter>& Counters(prometheus::Registry& registry, const std::string& name, const char* help) {
  return prometheus::BuildCounter().Name(name).Help(help).Register(registry);
}

Family<Histogram>& Histograms(prometheus::Registry& registry, const std::string& name) {
  return prometheus::BuildHistogram().Name(name).Help("How long requests to the REST API take").Register(registry);
}

prometheus::Summary& Sizes(prometheus::Registry& registry, const std::string& name, const char* help) {
  static const prometheus::Summary::Quantiles kQuantiles = {{0.5, 0.05}, {0.9, 0.01}, {0.99, 0.001}};
  return prometheus::BuildSummary().Name(name).Help(help).Register(registry).Add({}, kQuantiles);
}

}  // namespace

struct Probe::State {
  explicit State(prometheus::Registry& registry)
      : searches(
            Counters(registry, "dragonfly_manager_search_scheduler_cluster_total", "Searches of scheduler clusters")),
        failures(Counters(registry, "dragonfly_manager_search_scheduler_cluster_failure_total",
                          "Searches of scheduler clusters that failed")),
        jobs(Counters(registry, "dragonfly_manager_create_job_total", "Jobs that were created")),
        job_successes(Counters(registry, "dragonfly_manager_create_job_success_total", "Jobs that have succeeded")),
        // The original exports the first spelling, its dashboards ask for the second.
        requests(Counters(registry, "manager_requests_total", "Requests to the REST API")),
        requests_prefixed(Counters(registry, "dragonfly_manager_requests_total", "Requests to the REST API")),
        durations(Histograms(registry, "manager_request_duration_seconds")),
        durations_prefixed(Histograms(registry, "dragonfly_manager_request_duration_seconds")),
        request_sizes(Sizes(registry, "manager_request_size_bytes", "Sizes of requests to the REST API")),
        response_sizes(Sizes(registry, "manager_response_size_bytes", "Sizes of answers of the REST API")) {
    utsname machine{};
    uname(&machine);
    prometheus::BuildGauge()
        .Name("dragonfly_manager_version")
        .Help("Version of the manager")
        .Register(registry)
        .Add({{"major", "2"},
              {"minor", "3"},
              {"git_version", StrCat("v", kVersion)},
              {"git_commit", std::string(GitCommit())},
              {"platform", StrCat("linux/", static_cast<const char*>(machine.machine))},
              {"build_time", std::string(BuildDate())},
              {"go_version", ""},
              {"go_tags", ""},
              {"go_gcflags", ""}})
        .Set(1);
  }

  std::pair<std::string, std::string> Bounded(const std::string& version, const std::string& commit) {
    const std::pair<std::string, std::string> key(version.substr(0, kLabelMax), commit.substr(0, kLabelMax));
    absl::MutexLock lock(&mutex);
    if (strangers.contains(key)) return key;
    if (strangers.size() >= kStrangersMax) return {"other", "other"};
    strangers.insert(key);
    return key;
  }

  void Count(Family<Counter>& family, const std::string& version, const std::string& commit) {
    const auto [bounded_version, bounded_commit] = Bounded(version, commit);
    family.Add({{"version", bounded_version}, {"commit", bounded_commit}}).Increment();
  }

  Family<Counter>& searches;
  Family<Counter>& failures;
  Family<Counter>& jobs;
  Family<Counter>& job_successes;
  Family<Counter>& requests;
  Family<Counter>& requests_prefixed;
  Family<Histogram>& durations;
  Family<Histogram>& durations_prefixed;
  prometheus::Summary& request_sizes;
  prometheus::Summary& response_sizes;
  absl::Mutex mutex;
  std::set<std::pair<std::string, std::string>> strangers ABSL_GUARDED_BY(mutex);
};

Probe::Probe(telemetry::Metrics& metrics) : state_(std::make_unique<State>(metrics.registry())) {}
Probe::~Probe() = default;

void Probe::CountSearch(const std::string& version, const std::string& commit) {
  state_->Count(state_->searches, version, commit);
}

void Probe::CountSearchFailure(const std::string& version, const std::string& commit) {
  state_->Count(state_->failures, version, commit);
}

void Probe::CountJob(const std::string& type) { state_->jobs.Add({{"name", type}}).Increment(); }

void Probe::CountJobSuccess(const std::string& type) { state_->job_successes.Add({{"name", type}}).Increment(); }

void Probe::CountSizes(uint64_t request, uint64_t response) {
  state_->request_sizes.Observe(static_cast<double>(request));
  state_->response_sizes.Observe(static_cast<double>(response));
}

void Probe::CountRequest(int status, const std::string& method, const std::string& route, double seconds) {
  const std::map<std::string, std::string> labels = {
      {"code", std::to_string(status)}, {"method", method}, {"url", route}};
  state_->requests.Add(labels).Increment();
  state_->requests_prefixed.Add(labels).Increment();
  // prometheus.DefBuckets of Go's client.
  const Histogram::BucketBoundaries buckets = {0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10};
  state_->durations.Add(labels, buckets).Observe(seconds);
  state_->durations_prefixed.Add(labels, buckets).Observe(seconds);
}

}  // namespace dragonfly::manager
