// SPDX-License-Identifier: Apache-2.0
#include "telemetry/metrics.h"

#include <prometheus/registry.h>
#include <prometheus/text_serializer.h>

#include <iterator>
#include <map>
#include <utility>
#include <vector>

#include "absl/base/thread_annotations.h"
#include "absl/synchronization/mutex.h"
#include "telemetry/process_metrics.h"

namespace dragonfly::telemetry {
namespace {

std::string Key(const prometheus::MetricFamily& family, const prometheus::ClientMetric& metric) {
  std::string key = family.name;
  for (const prometheus::ClientMetric::Label& label : metric.label) {
    key += '\0' + label.name + '\0' + label.value;
  }
  return key;
}

void Subtract(const prometheus::ClientMetric& baseline, prometheus::ClientMetric& metric) {
  metric.counter.value -= baseline.counter.value;
  metric.histogram.sample_count -= baseline.histogram.sample_count;
  metric.histogram.sample_sum -= baseline.histogram.sample_sum;
  auto& buckets = metric.histogram.bucket;
  for (size_t i = 0; i < buckets.size() && i < baseline.histogram.bucket.size(); ++i) {
    buckets[i].cumulative_count -= baseline.histogram.bucket[i].cumulative_count;
  }
}

}  // namespace

struct Metrics::State {
  prometheus::Registry registry;
  absl::Mutex mutex;
  // What Reset() found, by family and labels.
  std::map<std::string, prometheus::ClientMetric> baseline ABSL_GUARDED_BY(mutex);
};

Metrics::Metrics() : state_(std::make_unique<State>()) {}

Metrics::~Metrics() = default;

prometheus::Registry& Metrics::registry() { return state_->registry; }

std::string Metrics::Render() const {
  std::vector<prometheus::MetricFamily> families = state_->registry.Collect();
  {
    const absl::MutexLock lock(&state_->mutex);
    for (prometheus::MetricFamily& family : families) {
      for (prometheus::ClientMetric& metric : family.metric) {
        const auto found = state_->baseline.find(Key(family, metric));
        if (found != state_->baseline.end()) Subtract(found->second, metric);
      }
    }
  }
  std::vector<prometheus::MetricFamily> process = ProcessMetrics();
  families.insert(families.end(), std::make_move_iterator(process.begin()), std::make_move_iterator(process.end()));
  return prometheus::TextSerializer().Serialize(families);
}

void Metrics::Reset() {
  const absl::MutexLock lock(&state_->mutex);
  state_->baseline.clear();
  for (prometheus::MetricFamily& family : state_->registry.Collect()) {
    for (prometheus::ClientMetric& metric : family.metric) state_->baseline[Key(family, metric)] = metric;
  }
}

}  // namespace dragonfly::telemetry
