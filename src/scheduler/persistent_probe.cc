// SPDX-License-Identifier: Apache-2.0
#include "scheduler/persistent_probe.h"

#include <prometheus/counter.h>
#include <prometheus/gauge.h>
#include <prometheus/registry.h>

#include <algorithm>
#include <array>
#include <string>
#include <string_view>

#include "base/text.h"
#include "telemetry/metrics.h"

namespace dragonfly::scheduler {
namespace {

using prometheus::Counter;

constexpr std::array<const char*, 4> kHostTypes = {"normal", "super", "strong", "weak"};

struct Names {
  std::string_view total, failures, what;
};
// In the order of PersistentCall. One name of the original is odd.
constexpr std::array<Names, 8> kCalls = {{
    {"announce_persistent_cache_peer_total", "announce_persistent_cache_peer_failure_total",
     "AnnouncePersistentCachePeer streams"},
    {"stat_persistent_cache_peer_total", "stat_persistent_cache_peer_failure_total", "StatPersistentCachePeer calls"},
    {"delete_persistent_cache_peer_total", "delete_persistent_cache_peer_failure_total",
     "DeletePersistentCachePeer calls"},
    {"upload_persistent_cache_task_started_total", "upload_persistent_cache_task_started_failure_total",
     "UploadPersistentCacheTaskStarted calls"},
    {"upload_persistent_cache_task_finished_total", "upload_persistent_cache_task_finished_failure_total",
     "UploadPersistentCacheTaskFinished calls"},
    {"upload_persistent_cache_task_failed_total", "upload_cache_peer_failed_failure_total",
     "UploadPersistentCacheTaskFailed calls"},
    {"stat_persistent_cache_task_total", "stat_persistent_cache_task_failure_total", "StatPersistentCacheTask calls"},
    {"delete_persistent_cache_task_total", "delete_persistent_cache_task_failure_total",
     "DeletePersistentCacheTask calls"},
}};
// In the order of PersistentStep.
constexpr std::array<Names, 4> kSteps = {{
    {"register_persistent_cache_peer_total", "register_persistent_cache_peer_failure_total",
     "Registrations of persistent cache peers"},
    {"download_persistent_cache_peer_started_total", "download_persistent_cache_peer_started_failure_total",
     "Downloads of persistent cache tasks that have begun"},
    {"download_persistent_cache_peer_finished_total", "download_persistent_cache_peer_finished_failure_total",
     "Downloads of persistent cache tasks that have ended"},
    {"download_persistent_cache_piece_finished_total", "download_persistent_cache_piece_finished_failure_total",
     "Pieces of persistent cache tasks that peers have reported"},
}};

struct Pair {
  Counter* total = nullptr;
  Counter* failures = nullptr;
};

}  // namespace

struct PersistentProbe::State {
  std::array<Pair, kCalls.size()> calls;
  std::array<std::array<Pair, kHostTypes.size()>, kSteps.size()> steps;
  prometheus::Gauge* below = nullptr;
};

PersistentProbe::PersistentProbe(telemetry::Metrics& metrics) : state_(std::make_unique<State>()) {
  prometheus::Registry& registry = metrics.registry();
  const auto family = [&registry](std::string_view name, std::string_view what) -> prometheus::Family<Counter>& {
    return prometheus::BuildCounter()
        .Name(StrCat("dragonfly_scheduler_", name))
        .Help(StrCat(what, "."))
        .Register(registry);
  };
  for (size_t i = 0; i < kCalls.size(); ++i) {
    state_->calls[i].total = &family(kCalls[i].total, kCalls[i].what).Add({});
    state_->calls[i].failures = &family(kCalls[i].failures, StrCat("Failed ", kCalls[i].what)).Add({});
  }
  for (size_t i = 0; i < kSteps.size(); ++i) {
    auto& total = family(kSteps[i].total, kSteps[i].what);
    auto& failures = family(kSteps[i].failures, StrCat("Failed: ", kSteps[i].what));
    for (size_t type = 0; type < kHostTypes.size(); ++type) {
      state_->steps[i][type].total = &total.Add({{"host_type", kHostTypes[type]}});
      state_->steps[i][type].failures = &failures.Add({{"host_type", kHostTypes[type]}});
    }
  }
  state_->below =
      &prometheus::BuildGauge()
           .Name("dragonfly_scheduler_persistent_cache_tasks_below_replica_count")
           .Help("Persistent cache tasks that have fewer persistent replicas than their importer asked for.")
           .Register(registry)
           .Add({});
}

PersistentProbe::~PersistentProbe() = default;

void PersistentProbe::Count(PersistentCall call, const absl::Status& result) {
  const Pair& pair = state_->calls[static_cast<size_t>(call)];
  pair.total->Increment();
  if (!result.ok()) pair.failures->Increment();
}

void PersistentProbe::Count(PersistentStep step, uint32_t host_type, const absl::Status& result) {
  const size_t type = std::min<size_t>(host_type, kHostTypes.size() - 1);
  const Pair& pair = state_->steps[static_cast<size_t>(step)][type];
  pair.total->Increment();
  if (!result.ok()) pair.failures->Increment();
}

void PersistentProbe::SetBelow(uint64_t tasks) { state_->below->Set(static_cast<double>(tasks)); }

}  // namespace dragonfly::scheduler
