// SPDX-License-Identifier: Apache-2.0
#include "daemon/persistent_tasks.h"

#include <algorithm>
#include <utility>

#include "base/digest.h"
#include "base/status.h"
#include "base/text.h"
#include "daemon/output.h"
#include "daemon/persistent_state.h"
#include "runtime/timeout.h"
#include "telemetry/log.h"

namespace dragonfly::daemon {

namespace asio = boost::asio;

PersistentTasks::State::Work PersistentTasks::State::Join(const TaskId& id, bool* mine) {
  const absl::MutexLock lock(&mutex);
  Work& work = running[id.str()];
  *mine = work == nullptr;
  if (*mine) work = std::make_shared<PersistentWork>();
  return work;
}

PersistentTasks::State::Work PersistentTasks::State::FindWork(const TaskId& id) const {
  const absl::MutexLock lock(&mutex);
  const auto found = running.find(id.str());
  return found == running.end() ? nullptr : found->second;
}

void PersistentTasks::State::EndWork(const TaskId& id, const Work& work, const absl::Status& how) {
  {
    const absl::MutexLock lock(&mutex);
    const auto found = running.find(id.str());
    if (found != running.end() && found->second == work) running.erase(found);
  }
  work->End(how);
}

std::string PersistentTasks::State::NewPeerId() const {
  return MakePeerId(parts.identity.ip, parts.identity.hostname, parts.identity.seed);
}

absl::Status PersistentTasks::State::MakeDurable(storage::TaskContent& content, const PersistentRecord& record) {
  // Of a copy that may go at any time nothing depends: its content reaches the disk in the background.
  if (record.persistent) DF_RETURN_IF_ERROR(content.Sync());
  return records->Put(record);
}

absl::Status PersistentTasks::State::Remove(const TaskId& id) {
  const absl::Status forgotten_record = records->Remove(id);
  const absl::Status deleted = store->Delete(id);
  if (!forgotten_record.ok()) return forgotten_record;
  return absl::IsNotFound(deleted) ? absl::OkStatus() : deleted;
}

bool PersistentTasks::State::IsWhole(const TaskId& id) const {
  const std::optional<PersistentRecord> record = records->Find(id);
  if (!record || record->importing) return false;
  const std::shared_ptr<storage::TaskContent> content = store->Find(id);
  return content != nullptr && content->complete() && !absl::IsNotFound(content->ReadBlocks().status());
}

absl::Status PersistentTasks::State::ForgetLost(const TaskId& id) {
  const std::optional<PersistentRecord> record = records->Find(id);
  if (!record || record->importing || FindWork(id) != nullptr || IsWhole(id)) return absl::OkStatus();
  DF_LOG(Error, "persistent cache task {}: its content is lost on this host", id.str());
  return Remove(id);
}

PersistentTasks::PersistentTasks(std::shared_ptr<State> state) : state_(std::move(state)) {}
PersistentTasks::~PersistentTasks() = default;

absl::StatusOr<std::unique_ptr<PersistentTasks>> PersistentTasks::Open(Parts parts) {
  storage::StoreOptions options;
  options.dir = StrCat(parts.config.storage.dir, "/persistent-cache");
  // Kept over restarts in any case: a promise does not end with the process.
  options.keep = true;
  options.capacity_bytes = parts.config.gc.dist_threshold;
  DF_ASSIGN_OR_RETURN(auto store, storage::ContentStore::Open(options));
  DF_ASSIGN_OR_RETURN(auto records, PersistentRecords::Open(StrCat(options.dir, "/records")));
  auto state = std::make_shared<State>(std::move(parts), std::move(store), std::move(records));
  for (const std::shared_ptr<storage::TaskContent>& content : state->store->List()) {
    const std::optional<PersistentRecord> record = state->records->Find(content->id());
    if (content->complete() && record && !record->importing) continue;
    DF_LOG(Info, "persistent cache task {}: what an interrupted import or download has left is removed",
           content->id().str());
    DF_RETURN_IF_ERROR(state->store->Delete(content->id()));
  }
  for (const PersistentRecord& record : state->records->List()) {
    // The scheduler must still be told of an import that came to no end.
    if (record.importing || state->store->Find(record.id) != nullptr) continue;
    DF_LOG(Error, "persistent cache task {}: its content is lost on this host", record.id.str());
    DF_RETURN_IF_ERROR(state->records->Remove(record.id));
  }
  return std::unique_ptr<PersistentTasks>(new PersistentTasks(std::move(state)));
}

void PersistentTasks::Start() { state_->groups.For("").Spawn(state_->LookAfter()); }

asio::awaitable<void> PersistentTasks::Stop() {
  const std::shared_ptr<State> state = state_;
  state->stopped = true;
  co_await state->groups.Stop();
  std::map<std::string, State::Work> left;
  {
    const absl::MutexLock lock(&state->mutex);
    left.swap(state->running);
  }
  for (const auto& [id, work] : left) work->End(absl::UnavailableError("the daemon is stopping"));
}

asio::awaitable<absl::Status> PersistentTasks::Keep(TaskId id) {
  const std::shared_ptr<State> state = state_;
  std::optional<PersistentRecord> record = state->records->Find(id);
  if (!record || record->importing) co_return absl::InternalError(StrCat("task ", id.str(), " not found"));
  if (record->persistent) co_return absl::OkStatus();
  const std::shared_ptr<storage::TaskContent> content = state->store->Find(id);
  if (content == nullptr || !content->complete())
    co_return absl::InternalError(StrCat("task ", id.str(), " not found"));
  record->persistent = true;
  const std::function<absl::Status()> job = [&] { return state->MakeDurable(*content, *record); };
  co_return co_await state->parts.blocking.Run(job);
}

asio::awaitable<absl::Status> PersistentTasks::DeleteLocal(TaskId id) {
  const std::shared_ptr<State> state = state_;
  const std::function<absl::Status()> job = [&] { return state->Remove(id); };
  co_return co_await state->parts.blocking.Run(job);
}

asio::awaitable<absl::StatusOr<std::unique_ptr<common::v2::PersistentCacheTask>>> PersistentTasks::Stat(TaskId id) {
  const std::shared_ptr<State> state = state_;
  state->parts.probe.StatTaskStarted(TaskType::kPersistentCache);
  auto task = co_await state->parts.link.Stat(std::move(id));
  if (!task.ok()) {
    state->parts.probe.StatTaskFailed(TaskType::kPersistentCache);
    co_return task.status();
  }
  co_return std::make_unique<common::v2::PersistentCacheTask>(*std::move(task));
}

asio::awaitable<absl::Status> PersistentTasks::DeleteEverywhere(TaskId id) {
  const std::shared_ptr<State> state = state_;
  DF_CO_RETURN_IF_ERROR((co_await state->parts.link.Stat(id)).status());
  DF_CO_RETURN_IF_ERROR(co_await state->parts.link.DeleteTask(id));
  co_return co_await DeleteLocal(std::move(id));
}

asio::awaitable<absl::StatusOr<std::vector<std::string>>> PersistentTasks::FindMissing(std::vector<TaskId> ids) {
  const std::shared_ptr<State> state = state_;
  std::vector<std::string> missing;
  const std::function<absl::Status()> look = [&]() -> absl::Status {
    for (const TaskId& id : ids) {
      if (state->IsWhole(id)) continue;
      const absl::Status forgotten = state->ForgetLost(id);
      if (!forgotten.ok()) DF_LOG(Warn, "persistent cache task {}: {}", id.str(), MessageOf(forgotten));
      missing.push_back(id.str());
    }
    return absl::OkStatus();
  };
  DF_CO_RETURN_IF_ERROR(co_await state->parts.blocking.Run(look));
  co_return missing;
}

std::optional<PersistentCopy> PersistentTasks::Find(const TaskId& id) const {
  std::optional<PersistentRecord> record = state_->records->Find(id);
  std::shared_ptr<storage::TaskContent> content = state_->store->Find(id);
  if (!record || record->importing || content == nullptr) return std::nullopt;
  PersistentCopy copy(*std::move(record));
  copy.content = std::move(content);
  return copy;
}

std::vector<PersistentCopy> PersistentTasks::List() const {
  std::vector<PersistentCopy> copies;
  for (PersistentRecord& record : state_->records->List()) {
    if (std::optional<PersistentCopy> copy = Find(record.id)) copies.push_back(*std::move(copy));
  }
  return copies;
}

bool PersistentTasks::Running(const TaskId& id) const { return state_->FindWork(id) != nullptr; }
storage::ContentStore& PersistentTasks::store() { return *state_->store; }
const HostIdentity& PersistentTasks::identity() const { return state_->parts.identity; }
runtime::BlockingPool& PersistentTasks::blocking() { return state_->parts.blocking; }
Probe& PersistentTasks::probe() { return state_->parts.probe; }
absl::Duration PersistentTasks::default_ttl() const { return state_->parts.config.gc.persistent_cache_task_ttl; }

asio::awaitable<absl::StatusOr<std::shared_ptr<storage::TaskContent>>> PersistentTasks::WhenContent(
    TaskId id, TimePoint deadline) {
  const std::shared_ptr<State> state = state_;
  for (;;) {
    const State::Work work = state->FindWork(id);
    const uint64_t seen = work != nullptr ? work->changed.version() : 0;
    if (std::shared_ptr<storage::TaskContent> content = state->store->Find(id)) co_return content;
    if (work == nullptr) co_return absl::NotFoundError(StrCat("task ", id.str(), " not found"));
    if (const std::optional<absl::Status> outcome = work->Outcome()) {
      if (!outcome->ok()) co_return *outcome;
    }
    if (!co_await work->changed.Wait(seen, deadline)) {
      co_return absl::DeadlineExceededError(StrCat("task ", id.str(), " has not begun in time"));
    }
  }
}

}  // namespace dragonfly::daemon
