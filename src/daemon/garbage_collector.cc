// SPDX-License-Identifier: Apache-2.0
#include "daemon/garbage_collector.h"

#include <algorithm>
#include <chrono>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include "absl/base/thread_annotations.h"
#include "absl/container/flat_hash_map.h"
#include "absl/synchronization/mutex.h"
#include "absl/time/clock.h"
#include "base/status.h"
#include "daemon/traced.h"
#include "runtime/signal.h"
#include "runtime/task_group.h"
#include "runtime/timeout.h"
#include "telemetry/log.h"

namespace dragonfly::daemon {
namespace asio = boost::asio;
namespace {

// Between looks at the space; costs a statvfs(2).
constexpr auto kSpaceInterval = std::chrono::seconds(10);
// The most that a task takes beyond its bytes: the block of its log, and what its last block has left over.
constexpr uint64_t kSpareBytesMax = 8 << 10;

}  // namespace

struct GarbageCollector::State {
  State(GarbagePolicy rules, absl::Duration pause, Parts all)
      : policy(rules), interval(pause), parts(std::move(all)), tasks(parts.io.get_executor()) {}

  asio::awaitable<void> Run();
  asio::awaitable<void> TellAlways();
  // Tells the schedulers of everything that has gone.
  asio::awaitable<void> Tell();
  // The passes block and run on the pool.
  asio::awaitable<size_t> OnPool(std::function<size_t()> pass);
  size_t AgePass();
  size_t SpacePass();
  void PageCachePass();
  uint64_t MakeRoom(const TaskId& keep, uint64_t bytes);

  bool Busy(const storage::TaskContent& content) const { return content.in_use() || parts.running(content.id()); }
  // Sets candidate.bytes, the finished ones before, to what gets free with `content`: a stat(2) or two. False when it
  // cannot be told.
  static bool Measure(const storage::TaskContent& content, bool budget, GarbageCandidate& candidate,
                      DiskUse* blocks_in_use);
  // With the bytes that each takes when `with_blocks`.
  std::vector<GarbageCandidate> Candidates(bool with_blocks, DiskUse* blocks_in_use) const;
  bool Evict(const TaskId& id, std::string_view why);
  // `span`: what the pass is called in traces; there is none when nothing goes.
  size_t EvictAll(const std::vector<TaskId>& ids, std::string_view why, telemetry::Span span);

  const GarbagePolicy policy;
  const absl::Duration interval;
  const Parts parts;
  runtime::Signal something_gone;
  absl::Mutex room_mutex;  // one makes room at a time: the next then finds what the last has freed
  absl::Mutex mutex;
  std::vector<TaskId> gone ABSL_GUARDED_BY(mutex);
  // Last use of contents that were given out of memory; used by PageCachePass() only.
  absl::flat_hash_map<TaskId, absl::Time> dropped;
  runtime::TaskGroup tasks;
};

bool GarbageCollector::State::Measure(const storage::TaskContent& content, bool budget, GarbageCandidate& candidate,
                                      DiskUse* blocks_in_use) {
  const absl::StatusOr<storage::TaskContent::Blocks> blocks = content.ReadBlocks();
  if (!blocks.ok()) return false;  // it is going
  const uint64_t on_disk = blocks->content_bytes + blocks->metadata_bytes;
  if (blocks_in_use != nullptr) blocks_in_use->used_bytes += std::max(on_disk, candidate.bytes);
  if (budget) {
    candidate.bytes = std::max(on_disk, candidate.bytes);
  } else {
    // Of a linked content the bytes stay.
    candidate.bytes = blocks->linked ? 0 : on_disk;
  }
  return true;
}

std::vector<GarbageCandidate> GarbageCollector::State::Candidates(bool with_blocks, DiskUse* blocks_in_use) const {
  const bool budget = parts.store.usage().budget;
  std::vector<GarbageCandidate> candidates;
  for (const auto& content : parts.store.List()) {
    GarbageCandidate candidate(content->id());
    candidate.bytes = content->finished_bytes();
    if (with_blocks && !Measure(*content, budget, candidate, blocks_in_use)) continue;
    candidate.created_at = content->created_at();
    candidate.updated_at = content->updated_at();
    candidate.complete = content->complete();
    candidate.running = Busy(*content);
    candidates.push_back(std::move(candidate));
  }
  return candidates;
}

bool GarbageCollector::State::Evict(const TaskId& id, std::string_view why) {
  {
    // It may be in use since the list was made. Not held any longer: blocks are free when nobody holds a content.
    const std::shared_ptr<storage::TaskContent> content = parts.store.Find(id);
    if (content == nullptr || Busy(*content)) return false;
  }
  const absl::Status deleted = parts.store.Delete(id);
  if (!deleted.ok()) {
    if (!absl::IsNotFound(deleted)) DF_LOG(Warn, "evict task {}: {}", id.str(), MessageOf(deleted));
    return false;
  }
  DF_LOG(Info, "task {} evicted: {}", id.str(), why);
  {
    absl::MutexLock lock(&mutex);
    gone.push_back(id);
  }
  something_gone.Notify();
  return true;
}

size_t GarbageCollector::State::EvictAll(const std::vector<TaskId>& ids, std::string_view why, telemetry::Span span) {
  size_t evicted = 0;
  for (const TaskId& id : ids) evicted += Evict(id, why) ? 1 : 0;
  span.Set("tasks", evicted);
  return evicted;
}

size_t GarbageCollector::State::AgePass() {
  const std::vector<TaskId> expired = ExpiredTasks(Candidates(/*with_blocks=*/false, nullptr), policy, absl::Now());
  if (expired.empty()) return 0;
  return EvictAll(expired, "not used for its time to live", parts.trace.Start("evict_task_by_ttl"));
}

size_t GarbageCollector::State::SpacePass() {
  const storage::ContentStore::Usage usage = parts.store.usage();
  DiskUse use;
  use.total_bytes = usage.total_bytes;
  use.used_bytes = usage.total_bytes - std::min(usage.total_bytes, usage.available_bytes);
  // The common case, before the tasks are listed: not even with what blocks add to the bytes is there too much.
  DiskUse most = use;
  if (usage.budget) most.used_bytes += usage.tasks * kSpareBytesMax;
  if (!TooFull(most, policy)) return 0;
  DiskUse blocks;
  std::vector<GarbageCandidate> candidates = Candidates(/*with_blocks=*/true, &blocks);
  if (usage.budget) use.used_bytes = std::max(use.used_bytes, blocks.used_bytes);
  const std::vector<TaskId> excess = TasksOverBudget(std::move(candidates), use, policy, absl::Now());
  if (excess.empty()) return 0;
  return EvictAll(excess, "the disk is too full", parts.trace.Start("evict_task_by_disk_usage"));
}

void GarbageCollector::State::PageCachePass() {
  if (policy.page_cache_idle == absl::InfiniteDuration()) return;
  const absl::Time now = absl::Now();
  absl::flat_hash_map<TaskId, absl::Time> seen;
  for (const auto& content : parts.store.List()) {
    const absl::Time used = content->updated_at();
    if (used + policy.page_cache_idle > now || Busy(*content)) continue;
    const auto it = dropped.find(content->id());
    const bool known = it != dropped.end() && it->second == used;
    if (known || content->DropPageCache().ok()) seen.emplace(content->id(), used);
  }
  dropped = std::move(seen);
}

uint64_t GarbageCollector::State::MakeRoom(const TaskId& keep, uint64_t bytes) {
  absl::MutexLock lock(&room_mutex);
  const storage::ContentStore::Usage usage = parts.store.usage();
  const uint64_t available = usage.available_bytes;
  // When there seems to be enough, the file system has kept something back (a quota, blocks of root).
  const uint64_t wanted = available < bytes ? bytes - available : bytes;
  // Said before the tasks are listed, since whoever asks for too much may ask often.
  if (wanted > usage.content_bytes + usage.tasks * kSpareBytesMax) return 0;
  // On the thread of a download: no file is looked at that may stay.
  std::vector<GarbageCandidate> candidates = Candidates(/*with_blocks=*/false, nullptr);
  std::erase_if(candidates, [&keep](const GarbageCandidate& candidate) { return candidate.id == keep; });
  absl::flat_hash_map<TaskId, uint64_t> bytes_of;
  const auto free_by = [&](const TaskId& id) -> uint64_t {
    const std::shared_ptr<storage::TaskContent> content = parts.store.Find(id);
    if (content == nullptr) return 0;
    GarbageCandidate measured(id);
    measured.bytes = content->finished_bytes();
    if (!Measure(*content, usage.budget, measured, nullptr)) return 0;
    return bytes_of[id] = measured.bytes;
  };
  uint64_t freed = 0;
  telemetry::Span span = parts.trace.Start("evict_task_space");
  for (const TaskId& id : TasksToMakeRoom(std::move(candidates), wanted, policy, absl::Now(), free_by)) {
    if (Evict(id, "a download needs the room")) freed += bytes_of[id];
  }
  span.Set("bytes", freed);
  return freed;
}

asio::awaitable<size_t> GarbageCollector::State::OnPool(std::function<size_t()> pass) {
  size_t evicted = 0;
  const std::function<absl::Status()> work = [&evicted, pass = std::move(pass)] {
    evicted = pass();
    return absl::OkStatus();
  };
  const absl::Status ran = co_await parts.blocking.Run(work);
  if (!ran.ok()) DF_LOG(Warn, "collect garbage: {}", MessageOf(ran));
  co_return evicted;
}

asio::awaitable<void> GarbageCollector::State::Tell() {
  std::vector<TaskId> ids;
  {
    absl::MutexLock lock(&mutex);
    ids.swap(gone);
  }
  for (const TaskId& id : ids) {
    // It may be back meanwhile; then the scheduler hears of it by the new download.
    if (parts.running(id)) continue;
    telemetry::Span span = parts.trace.Start("delete_task_from_scheduler");
    span.Set("task_id", id.str());
    const absl::Status told = co_await Traced(std::move(span), parts.schedulers.DeleteTask(id));
    if (!told.ok()) DF_LOG(Debug, "task {}: tell the scheduler that it is gone: {}", id.str(), MessageOf(told));
  }
}

asio::awaitable<void> GarbageCollector::State::TellAlways() {
  for (;;) {
    const uint64_t seen = something_gone.version();
    co_await Tell();
    co_await something_gone.Wait(seen);
  }
}

asio::awaitable<void> GarbageCollector::State::Run() {
  const Clock::duration age_interval = absl::ToChronoNanoseconds(interval);
  const std::function<size_t()> old = [this] {
    PageCachePass();
    return AgePass();
  };
  const std::function<size_t()> space = [this] {
    parts.store.CloseIdleFiles();
    return SpacePass();
  };
  TimePoint next_age = Clock::now();
  for (;;) {
    if (Clock::now() >= next_age) {
      co_await OnPool(old);
      next_age = Clock::now() + age_interval;
    }
    co_await OnPool(space);
    co_await runtime::SleepUntil(std::min(next_age, Clock::now() + kSpaceInterval));
  }
}

GarbageCollector::GarbageCollector(GarbagePolicy policy, absl::Duration interval, Parts parts)
    : state_(std::make_shared<State>(policy, interval, std::move(parts))) {}

GarbageCollector::~GarbageCollector() = default;

void GarbageCollector::Start() {
  state_->parts.store.SetRoomMaker(
      [state = state_](const TaskId& keep, uint64_t bytes) { return state->MakeRoom(keep, bytes); });
  state_->tasks.Spawn(state_->Run());
  state_->tasks.Spawn(state_->TellAlways());
}

asio::awaitable<void> GarbageCollector::Stop() {
  const std::shared_ptr<State> state = state_;
  state->parts.store.SetRoomMaker({});
  co_await state->tasks.Stop();
}

asio::awaitable<size_t> GarbageCollector::RunOnce() {
  const std::shared_ptr<State> state = state_;
  const std::function<size_t()> passes = [state = state.get()] {
    state->PageCachePass();
    const size_t aged = state->AgePass();
    return aged + state->SpacePass();
  };
  const size_t evicted = co_await state->OnPool(passes);
  co_await state->Tell();
  co_return evicted;
}

uint64_t GarbageCollector::MakeRoom(const TaskId& keep, uint64_t bytes) { return state_->MakeRoom(keep, bytes); }

}  // namespace dragonfly::daemon
