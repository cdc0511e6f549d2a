// SPDX-License-Identifier: Apache-2.0
#include "scheduler/probe.h"

#include <prometheus/counter.h>
#include <prometheus/gauge.h>
#include <prometheus/registry.h>
#include <prometheus/summary.h>

#include <algorithm>
#include <array>
#include <atomic>
#include <map>
#include <set>
#include <string>

#include "absl/base/thread_annotations.h"
#include "absl/container/flat_hash_map.h"
#include "absl/synchronization/mutex.h"
#include "base/text.h"
#include "base/units.h"
#include "base/version.h"
#include "common/v2/common.pb.h"
#include "scheduler/host.h"
#include "scheduler/task.h"
#include "telemetry/metrics.h"

namespace dragonfly::scheduler {
namespace {

using prometheus::Counter;
using prometheus::Family;

constexpr std::string_view kPrefix = "dragonfly_scheduler_";
constexpr std::array<const char*, 7> kPriorities = {"LEVEL0", "LEVEL1", "LEVEL2", "LEVEL3",
                                                    "LEVEL4", "LEVEL5", "LEVEL6"};
constexpr std::array<const char*, 4> kTaskTypes = {"STANDARD", "PERSISTENT", "PERSISTENT_CACHE", "CACHE"};
constexpr std::array<const char*, 4> kHostTypes = {"normal", "super", "strong", "weak"};
constexpr std::array<const char*, 3> kTraffics = {"BACK_TO_SOURCE", "REMOTE_PEER", "LOCAL_PEER"};

template <size_t N, typename Index>
size_t Bounded(const std::array<const char*, N>&, Index index) {
  const auto value = static_cast<size_t>(index);
  return value < N ? value : 0;
}

const prometheus::Summary::Quantiles kQuantiles = {{0.5, 0.05}, {0.9, 0.01}, {0.95, 0.005}, {0.99, 0.001}};

// Counters of one family over a small grid of labels, made when first used and found without a lock afterwards.
template <size_t Size>
class Grid {
 public:
  explicit Grid(Family<Counter>& family) : family_(family) {}
  Counter& At(size_t cell, const std::map<std::string, std::string>& labels) {
    Counter* counter = cells_[cell].load(std::memory_order_acquire);
    if (counter == nullptr) {
      counter = &family_.Add(labels);
      cells_[cell].store(counter, std::memory_order_release);
    }
    return *counter;
  }
  Counter* Peek(size_t cell) const { return cells_[cell].load(std::memory_order_acquire); }

 private:
  Family<Counter>& family_;
  std::array<std::atomic<Counter*>, Size> cells_{};
};

// Kinds of machines that are counted by themselves: their labels are what strangers say.
constexpr size_t kMachinesMax = 1000;

constexpr size_t kStepCells = kPriorities.size() * kTaskTypes.size() * kHostTypes.size();
constexpr size_t kTrafficCells = kTraffics.size() * kTaskTypes.size() * kHostTypes.size();

// The longest of many times, as a gauge in seconds.
struct Longest {
  void Add(Clock::duration time) {
    Clock::rep known = longest.load(std::memory_order_relaxed);
    while (time.count() > known) {
      if (!longest.compare_exchange_weak(known, time.count(), std::memory_order_relaxed)) continue;
      // Of two at once the later may be the shorter.
      absl::MutexLock lock(&mutex);
      gauge->Set(std::max(gauge->Value(), std::chrono::duration<double>(time).count()));
      return;
    }
  }
  std::atomic<Clock::rep> longest{0};
  absl::Mutex mutex;
  prometheus::Gauge* gauge = nullptr;
};

struct Pair {
  Counter* total;
  Counter* failures;
};

}  // namespace

struct Probe::State {
  State(prometheus::Registry& r, bool by_host) : registry(r), host_traffic(by_host) {}

  Family<Counter>& Name(std::string_view name, std::string_view help) {
    return prometheus::BuildCounter().Name(StrCat(kPrefix, name)).Help(std::string(help)).Register(registry);
  }

  // Labels are built only for a cell that is new.
  Counter& StepCounter(Grid<kStepCells>& grid, size_t priority, size_t type, size_t host) {
    const size_t cell = (priority * kTaskTypes.size() + type) * kHostTypes.size() + host;
    if (Counter* const known = grid.Peek(cell)) return *known;
    return grid.At(
        cell, {{"priority", kPriorities[priority]}, {"task_type", kTaskTypes[type]}, {"host_type", kHostTypes[host]}});
  }
  Counter& TrafficCounter(Grid<kTrafficCells>& grid, const char* label, size_t traffic, size_t type, size_t host) {
    const size_t cell = (traffic * kTaskTypes.size() + type) * kHostTypes.size() + host;
    if (Counter* const known = grid.Peek(cell)) return *known;
    return grid.At(cell,
                   {{label, kTraffics[traffic]}, {"task_type", kTaskTypes[type]}, {"host_type", kHostTypes[host]}});
  }

  void AddHostTraffic(const char* direction, TaskType type, const HostFacts& host, double bytes) {
    const std::string key = StrCat(host.id, "/", direction, "/", static_cast<int>(type));
    absl::MutexLock lock(&mutex);
    Counter*& counter = by_host[key];
    if (counter == nullptr) {
      counter = &host_family->Add({{"type", direction},
                                   {"task_type", kTaskTypes[Bounded(kTaskTypes, type)]},
                                   {"host_type", kHostTypes[Bounded(kHostTypes, host.type)]},
                                   {"host_id", host.id},
                                   {"host_ip", host.ip},
                                   {"host_name", host.hostname}});
    }
    counter->Increment(bytes);
  }

  prometheus::Registry& registry;
  const bool host_traffic;
  std::array<Pair, 11> calls{};
  std::array<std::unique_ptr<Grid<kStepCells>>, 5> steps;  // empty: the original has none
  std::array<std::unique_ptr<Grid<kStepCells>>, 5> step_failures;
  std::unique_ptr<Grid<kTrafficCells>> pieces;
  std::unique_ptr<Grid<kTrafficCells>> piece_failures;
  std::unique_ptr<Grid<kTrafficCells>> source_piece_failures;
  std::unique_ptr<Grid<kTrafficCells>> traffic_bytes;
  Family<Counter>* announce_host = nullptr;
  Family<Counter>* announce_host_failures = nullptr;
  prometheus::Gauge* streams = nullptr;
  Longest longest_held;
  Longest longest_ran;
  prometheus::Summary* schedule = nullptr;
  Family<prometheus::Summary>* download = nullptr;
  Family<Counter>* host_family = nullptr;
  absl::Mutex mutex;
  absl::flat_hash_map<std::string, Counter*> by_host ABSL_GUARDED_BY(mutex);
  // The labels of announce_host so far.
  std::set<std::map<std::string, std::string>> machines ABSL_GUARDED_BY(mutex);
};

Probe::Probe(telemetry::Metrics& metrics, bool host_traffic)
    : state_(std::make_unique<State>(metrics.registry(), host_traffic)) {
  State& s = *state_;
  constexpr std::array<std::pair<const char*, const char*>, 11> kCalls = {{{"announce_peer", "AnnouncePeer streams"},
                                                                           {"stat_peer", "StatPeer calls"},
                                                                           {"leave_peer", "DeletePeer calls"},
                                                                           {"stat_task", "StatTask calls"},
                                                                           {"leave_task", "DeleteTask calls"},
                                                                           {"list_hosts", "ListHosts calls"},
                                                                           {"leave_host", "DeleteHost calls"},
                                                                           {"preheat_image", "PreheatImage calls"},
                                                                           {"stat_image", "StatImage calls"},
                                                                           {"preheat_file", "PreheatFile calls"},
                                                                           {"stat_file", "StatFile calls"}}};
  for (size_t i = 0; i < kCalls.size(); ++i) {
    const auto& [name, help] = kCalls[i];
    s.calls[i] = {&s.Name(StrCat(name, "_total"), StrCat(help, ".")).Add({}),
                  &s.Name(StrCat(name, "_failure_total"), StrCat(help, " that failed.")).Add({})};
  }
  constexpr std::array<std::pair<const char*, const char*>, 5> kSteps = {
      {{"register_peer", "Peers registered"},
       {"download_peer_started", "Peers that have begun to download from parents"},
       {"download_peer_back_to_source_started", "Peers that have begun to download from the origin"},
       {"download_peer_finished", "Peers that have finished"},
       {"download_peer_back_to_source_finished", "Peers that have finished from the origin"}}};
  for (size_t i = 0; i < kSteps.size(); ++i) {
    const auto& [name, help] = kSteps[i];
    if (static_cast<Step>(i) != Step::kBackToSourceFinished) {
      s.steps[i] = std::make_unique<Grid<kStepCells>>(s.Name(StrCat(name, "_total"), StrCat(help, ".")));
    }
    s.step_failures[i] =
        std::make_unique<Grid<kStepCells>>(s.Name(StrCat(name, "_failure_total"), StrCat(help, ", failures.")));
  }
  s.pieces = std::make_unique<Grid<kTrafficCells>>(s.Name("download_piece_finished_total", "Pieces downloaded."));
  s.piece_failures = std::make_unique<Grid<kTrafficCells>>(
      s.Name("download_piece_finished_failure_total", "Pieces that could not be downloaded."));
  s.source_piece_failures = std::make_unique<Grid<kTrafficCells>>(s.Name(
      "download_piece_back_to_source_finished_failure_total", "Pieces that could not be downloaded from the origin."));
  s.traffic_bytes = std::make_unique<Grid<kTrafficCells>>(s.Name("traffic", "Bytes of the pieces downloaded."));
  s.announce_host = &s.Name("announce_host_total", "Host announcements.");
  s.announce_host_failures = &s.Name("announce_host_failure_total", "Host announcements that failed.");
  s.host_family = &s.Name("host_traffic", "Bytes of the pieces downloaded, by host.");
  s.streams = &prometheus::BuildGauge()
                   .Name(StrCat(kPrefix, "concurrent_schedule_total"))
                   .Help("AnnouncePeer streams that are open.")
                   .Register(s.registry)
                   .Add({});
  s.longest_held.gauge = &prometheus::BuildGauge()
                              .Name(StrCat(kPrefix, "shard_longest_hold_seconds"))
                              .Help(
                                  "The longest that one step has held up everything else of its shard, since the "
                                  "start, by the clock.")
                              .Register(s.registry)
                              .Add({});
  s.longest_ran.gauge = &prometheus::BuildGauge()
                             .Name(StrCat(kPrefix, "shard_longest_run_seconds"))
                             .Help(
                                 "The longest that one step of a shard has kept a processor busy, since the start; "
                                 "the rest of a hold is waiting for a processor.")
                             .Register(s.registry)
                             .Add({});
  s.schedule = &prometheus::BuildSummary()
                    .Name(StrCat(kPrefix, "schedule_duration_milliseconds"))
                    .Help("From a peer's request for parents to the answer.")
                    .Register(s.registry)
                    .Add({}, kQuantiles);
  s.download = &prometheus::BuildSummary()
                    .Name(StrCat(kPrefix, "download_peer_duration_milliseconds"))
                    .Help("From a peer's registration to its end.")
                    .Register(s.registry);
  prometheus::BuildGauge()
      .Name(StrCat(kPrefix, "version"))
      .Help("The version of the program.")
      .Register(s.registry)
      .Add({{"major", "2"},
            {"minor", "3"},
            {"git_version", StrCat("v", kVersion)},
            {"git_commit", std::string(GitCommit())},
            {"platform", "linux"},
            {"build_time", std::string(BuildDate())},
            {"go_version", ""},
            {"go_tags", ""},
            {"go_gcflags", ""}})
      .Set(1);
}

Probe::~Probe() = default;

void Probe::Count(Call call, const absl::Status& result) {
  const Pair& pair = state_->calls[static_cast<size_t>(call)];
  pair.total->Increment();
  if (!result.ok()) pair.failures->Increment();
}

void Probe::CountAnnounceHost(const common::v2::Host& host, const absl::Status& result) {
  std::map<std::string, std::string> labels = {{"os", host.os()},
                                               {"platform", host.platform()},
                                               {"platform_family", host.platform_family()},
                                               {"platform_version", host.platform_version()},
                                               {"kernel_version", host.kernel_version()},
                                               {"git_version", host.build().git_version()},
                                               {"git_commit", host.build().git_commit()},
                                               {"go_version", host.build().go_version()},
                                               {"build_platform", host.build().platform()}};
  {
    absl::MutexLock lock(&state_->mutex);
    if (state_->machines.size() < kMachinesMax) {
      state_->machines.insert(labels);
    } else if (!state_->machines.contains(labels)) {
      for (auto& [name, text] : labels) text = "other";
    }
  }
  state_->announce_host->Add(labels).Increment();
  if (!result.ok()) state_->announce_host_failures->Add(labels).Increment();
}

void Probe::Count(Step step, int32_t priority, TaskType type, uint32_t host_type, const absl::Status& result) {
  const auto index = static_cast<size_t>(step);
  const size_t p = Bounded(kPriorities, priority);
  const size_t t = Bounded(kTaskTypes, type);
  const size_t h = Bounded(kHostTypes, host_type);
  if (state_->steps[index] != nullptr) state_->StepCounter(*state_->steps[index], p, t, h).Increment();
  if (!result.ok()) state_->StepCounter(*state_->step_failures[index], p, t, h).Increment();
}

void Probe::CountPiece(Traffic traffic, TaskType type, const HostFacts& child, const HostFacts* parent,
                       uint64_t bytes) {
  const auto kind = static_cast<size_t>(traffic);
  const size_t t = Bounded(kTaskTypes, type);
  const size_t h = Bounded(kHostTypes, child.type);
  state_->TrafficCounter(*state_->pieces, "traffic_type", kind, t, h).Increment();
  state_->TrafficCounter(*state_->traffic_bytes, "type", kind, t, h).Increment(static_cast<double>(bytes));
  if (!state_->host_traffic) return;
  state_->AddHostTraffic("download", type, child, static_cast<double>(bytes));
  if (parent != nullptr) state_->AddHostTraffic("upload", type, *parent, static_cast<double>(bytes));
}

void Probe::CountPieceFailure(Traffic traffic, TaskType type, const HostFacts& child) {
  const bool source = traffic == Traffic::kBackToSource;
  state_
      ->TrafficCounter(source ? *state_->source_piece_failures : *state_->piece_failures, "traffic_type",
                       static_cast<size_t>(traffic), Bounded(kTaskTypes, type), Bounded(kHostTypes, child.type))
      .Increment();
}

void Probe::StreamOpened() { state_->streams->Increment(); }
void Probe::StreamClosed() { state_->streams->Decrement(); }

void Probe::Scheduled(Clock::duration took) {
  state_->schedule->Observe(std::chrono::duration<double, std::milli>(took).count());
}

void Probe::Downloaded(uint64_t content_length, Clock::duration took) {
  state_->download->Add({{"task_size_level", std::string(SizeLevel(content_length))}}, kQuantiles)
      .Observe(std::chrono::duration<double, std::milli>(took).count());
}

void Probe::ShardHeld(Clock::duration held, Clock::duration ran) {
  state_->longest_held.Add(held);
  state_->longest_ran.Add(ran);
}

void Probe::Forget(std::string_view host_id) {
  if (!state_->host_traffic) return;
  const std::string prefix = StrCat(host_id, "/");
  absl::MutexLock lock(&state_->mutex);
  absl::erase_if(state_->by_host, [&](const auto& entry) {
    if (!std::string_view(entry.first).starts_with(prefix)) return false;
    state_->host_family->Remove(entry.second);
    return true;
  });
}

std::string_view SizeLevel(uint64_t content_length) {
  constexpr std::array<uint64_t, 19> kBounds = {
      1 * kMiB, 4 * kMiB, 8 * kMiB,  16 * kMiB, 32 * kMiB, 64 * kMiB,  128 * kMiB, 256 * kMiB, 512 * kMiB, 1 * kGiB,
      4 * kGiB, 8 * kGiB, 16 * kGiB, 32 * kGiB, 64 * kGiB, 128 * kGiB, 256 * kGiB, 512 * kGiB, 1024 * kGiB};
  constexpr std::array<std::string_view, 21> kLevels = {"0",  "1",  "2",  "3",  "4",  "5",  "6",  "7",  "8",  "9", "10",
                                                        "11", "12", "13", "14", "15", "16", "17", "18", "19", "20"};
  if (content_length == 0) return kLevels[0];
  size_t level = 0;
  while (level < kBounds.size() && content_length >= kBounds[level]) ++level;
  return kLevels[level + 1];
}

}  // namespace dragonfly::scheduler
