// SPDX-License-Identifier: Apache-2.0
#include "daemon/garbage_collector.h"

#include <algorithm>
#include <chrono>
#include <string>
#include <utility>

#include "absl/time/clock.h"
#include "base/status.h"
#include "runtime/task_group.h"
#include "runtime/timeout.h"
#include "telemetry/log.h"

namespace dragonfly::daemon {
namespace asio = boost::asio;
namespace {

// Between looks at the space; costs a statvfs(2).
constexpr auto kSpaceInterval = std::chrono::seconds(10);

}  // namespace

struct GarbageCollector::State {
  State(GarbagePolicy rules, absl::Duration pause, Parts all)
      : policy(rules), interval(pause), parts(std::move(all)), tasks(parts.io.get_executor()) {}

  asio::awaitable<void> Run();
  asio::awaitable<size_t> AgePass();
  asio::awaitable<size_t> SpacePass();
  asio::awaitable<size_t> Evict(std::vector<TaskId> ids, std::string why);
  std::vector<GarbageCandidate> Candidates() const;

  const GarbagePolicy policy;
  const absl::Duration interval;
  const Parts parts;
  runtime::TaskGroup tasks;
};

std::vector<GarbageCandidate> GarbageCollector::State::Candidates() const {
  std::vector<GarbageCandidate> candidates;
  for (const auto& content : parts.store.List()) {
    GarbageCandidate candidate(content->id());
    candidate.bytes = content->finished_bytes();
    candidate.created_at = content->created_at();
    candidate.updated_at = content->updated_at();
    candidate.complete = content->complete();
    candidate.running = parts.running(content->id());
    candidates.push_back(std::move(candidate));
  }
  return candidates;
}

asio::awaitable<size_t> GarbageCollector::State::Evict(std::vector<TaskId> ids, std::string why) {
  size_t evicted = 0;
  for (const TaskId& id : ids) {
    // A download may have begun since the list was made.
    if (parts.running(id)) continue;
    const std::function<absl::Status()> unlink = [this, id] { return parts.store.Delete(id); };
    const absl::Status deleted = co_await parts.blocking.Run(unlink);
    if (!deleted.ok()) {
      if (!absl::IsNotFound(deleted)) DF_LOG(Warn, "evict task {}: {}", id.str(), MessageOf(deleted));
      continue;
    }
    ++evicted;
    DF_LOG(Info, "task {} evicted: {}", id.str(), why);
    const absl::Status told = co_await parts.schedulers.DeleteTask(id);
    if (!told.ok()) DF_LOG(Debug, "task {}: tell the scheduler that it is gone: {}", id.str(), MessageOf(told));
  }
  co_return evicted;
}

asio::awaitable<size_t> GarbageCollector::State::AgePass() {
  std::vector<TaskId> expired = ExpiredTasks(Candidates(), policy, absl::Now());
  co_return co_await Evict(std::move(expired), "not used for its time to live");
}

asio::awaitable<size_t> GarbageCollector::State::SpacePass() {
  const storage::ContentStore::Usage usage = parts.store.usage();
  DiskUse use;
  use.total_bytes = usage.total_bytes;
  use.used_bytes = usage.total_bytes - std::min(usage.total_bytes, usage.available_bytes);
  // The common case, before the tasks are listed.
  if (!TooFull(use, policy)) co_return 0;
  std::vector<TaskId> evicted = TasksOverBudget(Candidates(), use, policy, absl::Now());
  co_return co_await Evict(std::move(evicted), "the disk is too full");
}

asio::awaitable<void> GarbageCollector::State::Run() {
  const Clock::duration age_interval = absl::ToChronoNanoseconds(interval);
  TimePoint next_age = Clock::now();
  for (;;) {
    if (Clock::now() >= next_age) {
      co_await AgePass();
      next_age = Clock::now() + age_interval;
    }
    co_await SpacePass();
    co_await runtime::SleepUntil(std::min(next_age, Clock::now() + kSpaceInterval));
  }
}

GarbageCollector::GarbageCollector(GarbagePolicy policy, absl::Duration interval, Parts parts)
    : state_(std::make_shared<State>(policy, interval, std::move(parts))) {}

GarbageCollector::~GarbageCollector() = default;

void GarbageCollector::Start() { state_->tasks.Spawn(state_->Run()); }

asio::awaitable<void> GarbageCollector::Stop() {
  const std::shared_ptr<State> state = state_;
  co_await state->tasks.Stop();
}

asio::awaitable<size_t> GarbageCollector::RunOnce() {
  const std::shared_ptr<State> state = state_;
  const size_t aged = co_await state->AgePass();
  co_return aged + co_await state->SpacePass();
}

}  // namespace dragonfly::daemon
