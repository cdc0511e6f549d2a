// SPDX-License-Identifier: Apache-2.0
// The import of a file: name it, tell the scheduler, copy it, make it durable, register it. In this order, so that what
// is registered is durable, and what is not registered is removed. Replicas are made from the first piece on.
#include <algorithm>
#include <atomic>
#include <functional>
#include <system_error>
#include <thread>
#include <utility>
#include <vector>

#include "base/status.h"
#include "base/task_id.h"
#include "base/text.h"
#include "daemon/persistent_source.h"
#include "daemon/persistent_state.h"
#include "runtime/timeout.h"
#include "scheduler/v2/scheduler.pb.h"
#include "storage/shortage.h"
#include "telemetry/log.h"

namespace dragonfly::daemon {

namespace asio = boost::asio;

namespace {

constexpr uint64_t kReplicasMax = 5;
constexpr int kFinishRetries = 20;
constexpr Clock::duration kFinishPause = std::chrono::milliseconds(500);
constexpr Clock::duration kProgressEvery = std::chrono::milliseconds(200);
// Threads that read and sum one file: writes to it come one at a time, but summing does not wait for them.
constexpr unsigned kReadersMax = 2;

absl::Status Check(const PersistentImport& request) {
  if (request.replica_count < 1 || request.replica_count > kReplicasMax) {
    return absl::InvalidArgumentError(
        StrCat("persistent_replica_count ", request.replica_count, " is not in the range from 1 to ", kReplicasMax));
  }
  if (request.ttl <= absl::ZeroDuration()) return absl::InvalidArgumentError("ttl is missing");
  if (request.piece_length && (*request.piece_length < kPieceLengthMin || *request.piece_length > kPieceLengthMax)) {
    return absl::InvalidArgumentError(
        StrCat("piece_length ", *request.piece_length, " is not in the range from 4 MiB to 64 MiB"));
  }
  return absl::OkStatus();
}

// Gives `content` all pieces, in about their order, on a few threads. Blocks. The first error ends it.
absl::Status CopyAll(const PersistentSource& source, storage::TaskContent& content, bool in_place,
                     const std::atomic<bool>& stopped) {
  const uint32_t count = source.layout().piece_count();
  std::atomic<uint32_t> next = 0;
  std::atomic<bool> failed = false;
  const auto copy = [&]() -> absl::Status {
    for (;;) {
      if (stopped) return absl::UnavailableError("the daemon is stopping");
      const uint32_t number = failed ? count : next.fetch_add(1);
      if (number >= count) return absl::OkStatus();
      const absl::Status copied = source.CopyPiece(content, PieceNumber(number), in_place);
      if (copied.ok()) continue;
      failed = true;
      return copied;
    }
  };
  const unsigned readers = std::clamp(std::thread::hardware_concurrency(), 1u, kReadersMax);
  std::vector<absl::Status> results(readers);
  std::vector<std::jthread> others;
  for (unsigned i = 1; i < readers && i < count; ++i) {
    try {
      others.emplace_back([&copy, &result = results[i]] { result = copy(); });
    } catch (const std::system_error&) {
      break;  // no thread to be had: fewer do it as well
    }
  }
  results[0] = copy();
  others.clear();
  for (const absl::Status& result : results) DF_RETURN_IF_ERROR(result);
  return absl::OkStatus();
}

}  // namespace

asio::awaitable<absl::StatusOr<TaskId>> PersistentTasks::State::NameOf(const PersistentImport& request,
                                                                       const Source& source, ImportObserver* observer,
                                                                       ImportProgress* progress) {
  // The SHA-256 form, of client v1.0.15 and later: 32 bits of CRC are no name for a file that others rely on.
  if (request.content) co_return PersistentCacheIdFromContent(PersistentCacheIdForm::kSha256, *request.content);
  for (;;) {
    std::optional<TaskId> id;
    const std::function<absl::Status()> some = [&]() -> absl::Status {
      DF_ASSIGN_OR_RETURN(id, source->NameSome(request, &progress->named));
      return absl::OkStatus();
    };
    DF_CO_RETURN_IF_ERROR(co_await parts.blocking.Run(some));
    if (id) co_return *std::move(id);
    if (observer != nullptr) DF_CO_RETURN_IF_ERROR(co_await observer->Advanced(*progress));
  }
}

asio::awaitable<absl::StatusOr<PersistentImported>> PersistentTasks::Import(PersistentImport request,
                                                                            ImportObserver* observer) {
  const std::shared_ptr<State> state = state_;
  DF_CO_RETURN_IF_ERROR(Check(request));
  State::Source source;
  const std::function<absl::Status()> open = [&]() -> absl::Status {
    DF_ASSIGN_OR_RETURN(source, PersistentSource::Open(request));
    return absl::OkStatus();
  };
  DF_CO_RETURN_IF_ERROR(co_await state->parts.blocking.Run(open));
  ImportProgress progress;
  progress.length = source->layout().content_length();
  DF_CO_ASSIGN_OR_RETURN(const TaskId id, co_await state->NameOf(request, source, observer, &progress));
  for (;;) {
    bool mine = false;
    const State::Work work = state->Join(id, &mine);
    if (mine) state->groups.For(id.str()).Spawn(state->RunImport(id, request, source, work));
    for (;;) {
      const uint64_t seen = work->changed.version();
      if (work->Outcome()) break;
      if (observer == nullptr) {
        co_await work->changed.Wait(seen);
        continue;
      }
      co_await work->changed.Wait(seen, Clock::now() + kProgressEvery);
      const std::shared_ptr<storage::TaskContent> content = work->Content();
      if (content != nullptr) progress.stored = content->finished_bytes();
      DF_CO_RETURN_IF_ERROR(co_await observer->Advanced(progress));
    }
    // What somebody else was doing with the task is over: now it is our turn.
    if (!mine) continue;
    DF_CO_RETURN_IF_ERROR(*work->Outcome());
    const absl::MutexLock lock(&work->mutex);
    if (!work->imported) co_return absl::InternalError(StrCat("task ", id.str(), " was not imported"));
    PersistentImported imported;
    imported.task = std::make_unique<common::v2::PersistentCacheTask>(*work->imported);
    imported.method = work->method;
    co_return imported;
  }
}

asio::awaitable<void> PersistentTasks::State::RunImport(TaskId id, PersistentImport request, Source source, Work work) {
  TaskLabels labels;
  labels.type = TaskType::kPersistentCache;
  labels.tag = request.tag;
  labels.application = request.application;
  const absl::Time begin = absl::Now();
  parts.probe.UploadTaskStarted(labels);
  const absl::Status status = co_await ImportBody(id, request, source, work);
  if (status.ok()) {
    const std::shared_ptr<storage::TaskContent> content = store->Find(id);
    parts.probe.UploadTaskFinished(labels, content != nullptr ? content->finished_bytes() : 0, absl::Now() - begin);
    DF_LOG(Info, "persistent cache task {}: imported from {}", id.str(), request.path);
  } else {
    parts.probe.UploadTaskFailed(labels);
    DF_LOG(Error, "persistent cache task {}: import of {}: {}", id.str(), request.path, MessageOf(status));
  }
  EndWork(id, work, status);
}

absl::StatusOr<PersistentTasks::State::Place> PersistentTasks::State::MakePlace(const TaskId& id,
                                                                                const PersistentSource& source,
                                                                                bool hard_link) {
  const uint64_t length = source.layout().content_length();
  storage::ContentShape shape;
  shape.content_length = length;
  shape.piece_length = source.layout().piece_length();
  // No room is asked for what need not be copied.
  if (length > 0) shape.wanted = ByteRange{0, 1};
  Place place;
  const auto make = [&]() -> absl::Status {
    absl::StatusOr<std::shared_ptr<storage::TaskContent>> made = store->FindOrCreate(id, shape);
    if (storage::LacksSpace(made.status())) {
      return absl::ResourceExhaustedError(StrCat(
          "no space left on device: not enough space to store the persistent cache task: content_length=", length));
    }
    DF_RETURN_IF_ERROR(made.status());
    place.content = *std::move(made);
    if (place.content->layout() == source.layout()) return absl::OkStatus();
    return absl::AlreadyExistsError(StrCat("another content with the id ", id.str(), " is on this host"));
  };
  DF_RETURN_IF_ERROR(make());
  if (length > 0 && place.content->finished_piece_count() == 0) {
    DF_RETURN_IF_ERROR(source.CheckUnchanged());
    DF_ASSIGN_OR_RETURN(const storage::AdoptMethod adopted, place.content->AdoptFile(source.fd(), hard_link));
    if (adopted == storage::AdoptMethod::kReflink) place.method = ImportMethod::kReflink;
    if (adopted == storage::AdoptMethod::kHardLink) place.method = ImportMethod::kHardLink;
  }
  if (place.method != ImportMethod::kCopy) return place;
  shape.wanted.reset();
  DF_RETURN_IF_ERROR(make());
  return place;
}

asio::awaitable<absl::Status> PersistentTasks::State::ImportBody(const TaskId& id, const PersistentImport& request,
                                                                 const Source& source, Work work) {
  const PieceLayout& layout = source->layout();
  // Before the scheduler hears of it, so that a full disk is nobody's business but ours.
  const std::optional<PersistentRecord> known_here = records->Find(id);
  const bool had_copy = known_here && !known_here->importing;
  // Two imports of the same content are one task.
  const auto is_known = [&](const absl::StatusOr<common::v2::PersistentCacheTask>& known) {
    return known.ok() && known->state() == "Succeeded" && known->content_length() == layout.content_length();
  };
  if (had_copy) {
    auto known = co_await parts.link.Stat(id);
    if (is_known(known)) {
      const absl::MutexLock lock(&work->mutex);
      work->imported = *std::move(known);
      co_return absl::OkStatus();
    }
  }
  const std::function<absl::Status()> remove = [this, &id, had_copy] {
    return had_copy ? absl::OkStatus() : Remove(id);
  };
  Place place;
  const std::function<absl::Status()> make_place = [&]() -> absl::Status {
    DF_ASSIGN_OR_RETURN(place, MakePlace(id, *source, request.hard_link));
    return absl::OkStatus();
  };
  if (absl::Status placed = co_await parts.blocking.Run(make_place); !placed.ok()) {
    if (!absl::IsAlreadyExists(placed)) (co_await parts.blocking.Run(remove)).IgnoreError();
    co_return placed;
  }
  const std::shared_ptr<storage::TaskContent> content = place.content;
  const bool in_place = place.method != ImportMethod::kCopy;

  scheduler::v2::UploadPersistentCacheTaskStartedRequest started;
  const std::string peer_id = NewPeerId();
  started.set_task_id(id.str());
  started.set_peer_id(peer_id);
  started.set_persistent_replica_count(request.replica_count);
  started.set_tag(request.tag);
  started.set_application(request.application);
  started.set_piece_length(layout.piece_length());
  started.set_content_length(layout.content_length());
  started.set_piece_count(layout.piece_count());
  started.mutable_ttl()->set_seconds(absl::ToInt64Seconds(request.ttl));
  PersistentRecord record(id);
  record.peer_id = peer_id;
  record.persistent = record.importing = true;
  record.ttl = request.ttl;
  record.created_at = absl::Now();
  record.tag = request.tag;
  record.application = request.application;
  const std::function<absl::Status()> put = [this, &record] { return records->Put(record); };
  if (!had_copy) DF_CO_RETURN_IF_ERROR(co_await parts.blocking.Run(put));
  absl::Status told = co_await parts.link.UploadStarted(id, std::move(started));
  if (absl::IsAlreadyExists(told)) {
    auto known = co_await parts.link.Stat(id);
    if (is_known(known)) {
      const absl::MutexLock lock(&work->mutex);
      work->imported = *std::move(known);
      told = absl::OkStatus();
    }
    (co_await parts.blocking.Run(remove)).IgnoreError();
    co_return told;
  }
  if (!told.ok()) {
    // A scheduler that cannot be reached may have heard of it all the same.
    if (!had_copy) co_await Undo(record, told);
    co_return told;
  }

  work->SetContent(peer_id, content);
  record.importing = false;
  const std::function<absl::Status()> copy = [&]() -> absl::Status {
    DF_RETURN_IF_ERROR(CopyAll(*source, *content, in_place, stopped));
    DF_RETURN_IF_ERROR(source->CheckUnchanged());
    return MakeDurable(*content, record);
  };
  absl::Status status = co_await parts.blocking.Run(copy);
  if (status.ok()) {
    auto finished = co_await parts.link.UploadFinished(id, peer_id);
    // It is all here: a scheduler that is just being restarted is waited for.
    for (int i = 0; i < kFinishRetries && absl::IsUnavailable(finished.status()); ++i) {
      co_await runtime::SleepUntil(Clock::now() + kFinishPause);
      finished = co_await parts.link.UploadFinished(id, peer_id);
    }
    status = finished.status();
    if (finished.ok()) {
      const absl::MutexLock lock(&work->mutex);
      work->imported = *std::move(finished);
      work->method = place.method;
      co_return absl::OkStatus();
    }
  }
  if (had_copy) {
    // The copy that was here before stays; what this import has begun at the scheduler does not.
    (co_await parts.link.UploadFailed(id, peer_id, std::string(MessageOf(status)))).IgnoreError();
    co_return status;
  }
  record.importing = true;
  co_await Undo(record, status);
  co_return status;
}

asio::awaitable<void> PersistentTasks::State::Undo(PersistentRecord record, absl::Status why) {
  const TaskId id = record.id;
  const std::function<absl::Status()> give_up = [this, &record]() -> absl::Status {
    DF_RETURN_IF_ERROR(records->Put(record));
    return store->Delete(record.id);
  };
  (co_await parts.blocking.Run(give_up)).IgnoreError();
  const absl::Status told = co_await parts.link.UploadFailed(id, record.peer_id, std::string(MessageOf(why)));
  if (!told.ok() && !absl::IsNotFound(told)) {
    DF_LOG(Warn, "persistent cache task {}: tell the scheduler that the import has failed: {}", id.str(),
           MessageOf(told));
    co_return;
  }
  const std::function<absl::Status()> remove = [this, &id] { return Remove(id); };
  (co_await parts.blocking.Run(remove)).IgnoreError();
}

}  // namespace dragonfly::daemon
