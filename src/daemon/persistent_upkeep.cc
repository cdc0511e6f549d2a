// SPDX-License-Identifier: Apache-2.0
// Looks after the copies of persistent cache tasks, at the start and every gc.interval.
#include <algorithm>
#include <utility>

#include "base/status.h"
#include "base/text.h"
#include "daemon/persistent_state.h"
#include "runtime/timeout.h"
#include "telemetry/log.h"

namespace dragonfly::daemon {

namespace asio = boost::asio;

namespace {

constexpr Clock::duration kAnswerTimeout = std::chrono::seconds(15);
// A first look soon after the start, when the schedulers are known.
constexpr Clock::duration kFirstLook = std::chrono::seconds(2);
// Looks at which no scheduler knows a task before its copy is given up.
constexpr int kForgottenMax = 2;

}  // namespace

asio::awaitable<void> PersistentTasks::State::LookAfter() {
  const Clock::duration interval =
      absl::ToChronoNanoseconds(std::clamp(parts.config.gc.interval, absl::Milliseconds(100), absl::Hours(24)));
  co_await runtime::SleepUntil(Clock::now() + std::min(kFirstLook, interval));
  for (;;) {
    for (PersistentRecord& record : records->List()) co_await LookAfter(std::move(record));
    co_await MakeRoom();
    co_await runtime::SleepUntil(Clock::now() + interval);
  }
}

asio::awaitable<void> PersistentTasks::State::LookAfter(PersistentRecord record) {
  const TaskId id = record.id;
  if (FindWork(id) != nullptr) co_return;
  const std::function<absl::Status()> remove = [this, &id] { return Remove(id); };
  if (record.importing) {
    const absl::Status told = co_await parts.link.UploadFailed(id, record.peer_id, "the import was interrupted");
    if (!told.ok() && !absl::IsNotFound(told)) co_return;
    DF_LOG(Warn, "persistent cache task {}: an import that was interrupted is undone", id.str());
    (co_await parts.blocking.Run(remove)).IgnoreError();
    co_return;
  }
  if (record.expires_at() <= absl::Now()) {
    DF_LOG(Info, "persistent cache task {}: its time is over", id.str());
    const absl::Status removed = co_await parts.blocking.Run(remove);
    if (!removed.ok()) DF_LOG(Warn, "persistent cache task {}: {}", id.str(), MessageOf(removed));
    forgotten.erase(id.str());
    co_return;
  }
  const std::function<absl::Status()> look = [this, &id] { return ForgetLost(id); };
  (co_await parts.blocking.Run(look)).IgnoreError();
  if (!records->Find(id)) {
    (co_await parts.link.DeletePeer(id, record.peer_id)).IgnoreError();
    co_return;
  }
  const auto peer = co_await parts.link.StatPeer(id, record.peer_id);
  if (peer.ok() && peer->state() == "Uploading") {
    // The import was never acknowledged: the daemon ended between its last two steps.
    DF_LOG(Warn, "persistent cache task {}: an import that was interrupted is undone", id.str());
    (co_await parts.link.UploadFailed(id, record.peer_id, "the import was interrupted")).IgnoreError();
    (co_await parts.blocking.Run(remove)).IgnoreError();
    co_return;
  }
  if (!absl::IsNotFound(peer.status())) {
    forgotten.erase(id.str());
    if (peer.ok() && record.provisional && peer->task().state() == "Succeeded") {
      record.provisional = false;
      const std::function<absl::Status()> put = [&] { return records->Put(record); };
      const absl::Status kept = co_await parts.blocking.Run(put);
      if (!kept.ok()) DF_LOG(Warn, "persistent cache task {}: {}", id.str(), MessageOf(kept));
    }
    co_await Check(std::move(record));
    co_return;
  }
  if (co_await parts.link.UnknownEverywhere(id)) {
    if (++forgotten[id.str()] < kForgottenMax) co_return;
    DF_LOG(Warn, "persistent cache task {}: no scheduler knows it any more: its copy is removed", id.str());
    forgotten.erase(id.str());
    (co_await parts.blocking.Run(remove)).IgnoreError();
    co_return;
  }
  forgotten.erase(id.str());
  const absl::Status told = co_await TellAgain(record);
  if (!told.ok()) DF_LOG(Warn, "persistent cache task {}: tell of its copy: {}", id.str(), MessageOf(told));
}

// Reads what a power cut, or who has a linked file, may have changed. A copy that is damaged is given up, so that the
// scheduler makes another one.
asio::awaitable<void> PersistentTasks::State::Check(PersistentRecord record) {
  const TaskId id = record.id;
  const std::shared_ptr<storage::TaskContent> content = store->Find(id);
  if (content == nullptr) co_return;
  const std::function<absl::Status()> verify = [&content] { return content->Verify(); };
  const absl::Status whole = co_await parts.blocking.Run(verify);
  const bool damaged = absl::IsDataLoss(whole) || absl::IsFailedPrecondition(whole);
  if (!damaged || FindWork(id) != nullptr) co_return;
  DF_LOG(Error, "persistent cache task {}: the copy of this host is damaged and given up: {}", id.str(),
         MessageOf(whole));
  const absl::Status told = co_await parts.link.DeletePeer(id, record.peer_id);
  if (!told.ok() && !absl::IsNotFound(told)) co_return;  // told at the next look
  const std::function<absl::Status()> remove = [this, &id] { return Remove(id); };
  (co_await parts.blocking.Run(remove)).IgnoreError();
}

// The scheduler has struck this host off, and here it is: as a peer that downloads nothing any more.
asio::awaitable<absl::Status> PersistentTasks::State::TellAgain(PersistentRecord record) {
  const std::shared_ptr<storage::TaskContent> content = store->Find(record.id);
  if (content == nullptr || !content->complete()) co_return absl::NotFoundError("the copy is not complete");
  const PieceLayout layout = *content->layout();
  record.peer_id = NewPeerId();
  const std::unique_ptr<PersistentSession> session = parts.link.Open(record.id, record.peer_id);
  scheduler::v2::RegisterPersistentCachePeerRequest registration;
  registration.set_persistent(record.persistent);
  registration.set_tag(record.tag);
  registration.set_application(record.application);
  registration.set_piece_length(layout.piece_length());
  registration.set_piece_count(layout.piece_count());
  const auto answer = co_await session->Register(std::move(registration), Clock::now() + kAnswerTimeout);
  DF_CO_RETURN_IF_ERROR(answer.status());
  session->Started();
  DF_CO_RETURN_IF_ERROR(co_await session->Finished(layout.piece_count(), Clock::now() + kAnswerTimeout));
  const std::function<absl::Status()> keep = [&] { return records->Put(record); };
  co_return co_await parts.blocking.Run(keep);
}

// Copies that nobody has promised to keep go when the disk is full, the least used first; never the last of a task.
asio::awaitable<void> PersistentTasks::State::MakeRoom() {
  const storage::ContentStore::Usage usage = store->usage();
  if (usage.total_bytes == 0) co_return;
  const uint64_t used = usage.total_bytes - std::min(usage.total_bytes, usage.available_bytes);
  const uint64_t high = usage.total_bytes / 100 * parts.config.gc.high_percent;
  const uint64_t low = usage.total_bytes / 100 * std::min(parts.config.gc.low_percent, parts.config.gc.high_percent);
  if (used < high) co_return;
  uint64_t excess = used - low;
  std::vector<std::pair<absl::Time, PersistentRecord>> spare;
  for (PersistentRecord& record : records->List()) {
    const std::shared_ptr<storage::TaskContent> content = store->Find(record.id);
    if (record.persistent || content == nullptr || content->in_use() || FindWork(record.id) != nullptr) continue;
    spare.emplace_back(content->updated_at(), std::move(record));
  }
  std::sort(spare.begin(), spare.end(), [](const auto& a, const auto& b) { return a.first < b.first; });
  for (const auto& [used_at, record] : spare) {
    if (excess == 0) co_return;
    const auto task = co_await parts.link.Stat(record.id);
    // Another host must have promised to keep it: two that both count on the other's spare copy would lose both.
    if (!absl::IsNotFound(task.status()) && !(task.ok() && task->current_persistent_replica_count() > 0)) continue;
    const std::shared_ptr<storage::TaskContent> content = store->Find(record.id);
    const auto blocks = content != nullptr ? content->ReadBlocks() : absl::NotFoundError("");
    const absl::Status told = co_await parts.link.DeletePeer(record.id, record.peer_id);
    if (!told.ok() && !absl::IsNotFound(told)) continue;
    const std::function<absl::Status()> remove = [this, &gone = record.id] { return Remove(gone); };
    (co_await parts.blocking.Run(remove)).IgnoreError();
    DF_LOG(Info, "persistent cache task {}: its copy made room; it was not promised to be kept", record.id.str());
    if (blocks.ok() && !blocks->linked) excess -= std::min(excess, blocks->content_bytes);
  }
}

}  // namespace dragonfly::daemon
