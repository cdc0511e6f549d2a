// SPDX-License-Identifier: Apache-2.0
// The download of a persistent cache task: its shape from the scheduler, its pieces from the parents that the scheduler
// names. There is no origin to go back to. Dialogue: client v1.0.0,
// dragonfly-client/src/resource/persistent_cache_task.rs.
#include <algorithm>
#include <utility>

#include "absl/strings/str_join.h"
#include "base/digest.h"
#include "base/status.h"
#include "base/text.h"
#include "daemon/output.h"
#include "daemon/parent_batch.h"
#include "daemon/persistent_state.h"
#include "storage/shortage.h"
#include "telemetry/log.h"

namespace dragonfly::daemon {

namespace asio = boost::asio;

namespace {

constexpr Clock::duration kAnswerTimeout = std::chrono::seconds(15);
constexpr Clock::duration kEndTimeout = std::chrono::seconds(15);
// States of a task.
constexpr std::string_view kSucceeded = "Succeeded";
constexpr std::string_view kUploading = "Uploading";

// Configured durations are cut to a length with which sums of the clock do not overflow.
Clock::duration ToDuration(absl::Duration duration) {
  return absl::ToChronoNanoseconds(std::clamp(duration, absl::ZeroDuration(), absl::Hours(24 * 30)));
}

absl::Time CreatedAt(const common::v2::PersistentCacheTask& task) {
  return absl::FromUnixSeconds(task.created_at().seconds()) + absl::Nanoseconds(task.created_at().nanos());
}

// Tells `observer` of the pieces as they come, until all are there.
asio::awaitable<absl::Status> Follow(std::shared_ptr<storage::TaskContent> content,
                                     std::shared_ptr<PersistentWork> work, PersistentObserver& observer) {
  for (size_t next = 0;;) {
    const uint64_t seen = content->changes().version();
    // Looked at before the pieces, so that none that came before the end is missed.
    const bool complete = content->complete();
    const std::optional<absl::Status> outcome = work != nullptr ? work->Outcome() : std::nullopt;
    for (const storage::PieceRecord& record : content->FinishedSince(next)) {
      ++next;
      DF_CO_RETURN_IF_ERROR(co_await observer.PieceReady(record));
    }
    if (complete) co_return absl::OkStatus();
    if (outcome) co_return outcome->ok() ? absl::InternalError("the download ended before it was complete") : *outcome;
    if (work == nullptr) co_return content->failure();
    co_await content->changes().Wait(seen);
  }
}

}  // namespace

asio::awaitable<absl::Status> PersistentTasks::Download(PersistentDownloadRequest request,
                                                        PersistentObserver& observer) {
  const std::shared_ptr<State> state = state_;
  OutputRequest output;
  output.path = request.output_path;
  output.options.force_hard_link = request.force_hard_link;
  output.options.overwrite = request.overwrite;
  if (request.digest && !request.digest->empty()) {
    DF_CO_ASSIGN_OR_RETURN(output.digest, Digest::Parse(*request.digest));
  }
  TaskLabels labels;
  labels.type = TaskType::kPersistentCache;
  labels.tag = request.tag;
  labels.application = request.application;
  Probe& probe = state->parts.probe;
  const absl::Time begin = absl::Now();
  probe.DownloadStarted(labels);
  const TaskId id = request.id;
  const absl::Status status = co_await state->Bring(std::move(request), std::move(output), observer);
  if (status.ok()) {
    const std::shared_ptr<storage::TaskContent> content = state->store->Find(id);
    probe.DownloadFinished(labels, content != nullptr ? content->finished_bytes() : 0, absl::Now() - begin);
  } else {
    probe.DownloadFailed(labels);
    DF_LOG(Error, "persistent cache task {}: download: {}", id.str(), MessageOf(status));
  }
  co_return status;
}

asio::awaitable<absl::Status> PersistentTasks::State::Bring(PersistentDownloadRequest request, OutputRequest output,
                                                            PersistentObserver& observer) {
  const TaskId id = request.id;
  const absl::StatusOr<common::v2::PersistentCacheTask> task = co_await parts.link.Stat(id);
  const std::function<absl::Status()> look = [this, &id] { return ForgetLost(id); };
  DF_CO_RETURN_IF_ERROR(co_await parts.blocking.Run(look));
  std::optional<PersistentRecord> record = records->Find(id);
  std::shared_ptr<storage::TaskContent> content = record && !record->importing ? store->Find(id) : nullptr;
  const bool here = content != nullptr && content->complete();
  // A scheduler that is away keeps nobody from reading what is here.
  const bool away = absl::IsUnavailable(task.status()) || absl::IsDeadlineExceeded(task.status());
  if (!task.ok() && !(here && away && !record->provisional && record->expires_at() > absl::Now())) {
    co_return task.status();
  }
  // What is still being imported is nobody's yet, but for replicas, which are made along with it.
  const bool ready = !task.ok() || task->state() == kSucceeded || (request.replica && task->state() == kUploading);
  if (!ready) {
    co_return absl::FailedPreconditionError(StrCat("persistent cache task ", id.str(), " is ", task->state()));
  }
  Work work;
  if (here) {
    if (request.persistent && !record->persistent) {
      record->persistent = true;
      const std::function<absl::Status()> keep = [&] { return MakeDurable(*content, *record); };
      DF_CO_RETURN_IF_ERROR(co_await parts.blocking.Run(keep));
    }
    // A scheduler that wants what is here has struck it off.
    if (request.replica && absl::IsNotFound((co_await parts.link.StatPeer(id, record->peer_id)).status())) {
      DF_CO_RETURN_IF_ERROR(co_await TellAgain(*record));
    }
    DF_CO_RETURN_IF_ERROR(co_await observer.Started(record->peer_id, content));
  } else {
    bool mine = false;
    work = Join(id, &mine);
    if (mine) groups.For(id.str()).Spawn(RunDownload(request, *task, work));
    std::string peer_id;
    for (;;) {
      const uint64_t seen = work->changed.version();
      if ((content = work->Content()) != nullptr) break;
      if (const std::optional<absl::Status> outcome = work->Outcome()) co_return *outcome;
      co_await work->changed.Wait(seen);
    }
    {
      const absl::MutexLock lock(&work->mutex);
      peer_id = work->peer_id;
    }
    DF_CO_RETURN_IF_ERROR(co_await observer.Started(peer_id, content));
  }
  DF_CO_RETURN_IF_ERROR(co_await Follow(content, work, observer));
  // What is told to be kept is promised, too. An output is worth the same whatever becomes of this host's copy.
  while (work != nullptr) {
    const uint64_t seen = work->changed.version();
    if (const std::optional<absl::Status> outcome = work->Outcome()) {
      DF_CO_RETURN_IF_ERROR(*outcome);
      break;
    }
    if (!request.persistent && work->Here()) break;
    co_await work->changed.Wait(seen);
  }
  co_return co_await MakeOutput(parts.blocking, std::move(content), std::move(output));
}

asio::awaitable<void> PersistentTasks::State::RunDownload(PersistentDownloadRequest request,
                                                          common::v2::PersistentCacheTask task, Work work) {
  const TaskId id = request.id;
  const std::string peer_id = NewPeerId();
  const std::unique_ptr<PersistentSession> session = parts.link.Open(id, peer_id);
  absl::Status status = co_await Fetch(request, task, work, *session, peer_id);
  if (status.ok()) {
    work->SetHere();
    const PieceLayout layout = *work->Content()->layout();
    status = co_await session->Finished(layout.piece_count(), Clock::now() + kEndTimeout);
    // The task was removed, or its import has failed, while the copy was made.
    const bool gone = absl::IsNotFound(status) && absl::IsNotFound((co_await parts.link.Stat(id)).status());
    if (gone) {
      const std::function<absl::Status()> remove = [this, &id] { return Remove(id); };
      (co_await parts.blocking.Run(remove)).IgnoreError();
    } else if (!status.ok()) {
      DF_LOG(Warn, "persistent cache task {}: tell the scheduler that it is here: {}", id.str(), MessageOf(status));
      // The copy is good; the upkeep tells of it again.
      status = absl::OkStatus();
    }
  } else {
    (co_await session->Failed(std::string(MessageOf(status)), Clock::now() + kEndTimeout)).IgnoreError();
    const std::function<absl::Status()> remove = [this, &id] { return Remove(id); };
    (co_await parts.blocking.Run(remove)).IgnoreError();
  }
  EndWork(id, work, status);
  // Who follows the content looks at the outcome, too.
  if (const std::shared_ptr<storage::TaskContent> content = work->Content()) content->changes().Notify();
}

asio::awaitable<absl::Status> PersistentTasks::State::Fetch(const PersistentDownloadRequest& request,
                                                            const common::v2::PersistentCacheTask& task,
                                                            const Work& work, PersistentSession& session,
                                                            const std::string& peer_id) {
  const std::string name = StrCat("download persistent cache task ", request.id.str());
  DF_CO_ASSIGN_OR_RETURN(const PieceLayout layout, PieceLayout::Make(task.content_length(), task.piece_length()));
  storage::ContentShape shape;
  shape.content_length = layout.content_length();
  shape.piece_length = layout.piece_length();
  std::shared_ptr<storage::TaskContent> content;
  // Room may have to be made for it.
  const std::function<absl::Status()> make = [&]() -> absl::Status {
    absl::StatusOr<std::shared_ptr<storage::TaskContent>> made = store->FindOrCreate(request.id, shape);
    if (storage::LacksSpace(made.status())) {
      return absl::ResourceExhaustedError(
          StrCat("no space left on device: not enough space to store the persistent cache task: content_length=",
                 layout.content_length()));
    }
    DF_RETURN_IF_ERROR(made.status());
    content = *std::move(made);
    return absl::OkStatus();
  };
  DF_CO_RETURN_IF_ERROR(co_await parts.blocking.Run(make));
  if (content->layout() != layout) co_return absl::InternalError(StrCat(name, ": its shape has changed"));
  work->SetContent(peer_id, content);

  scheduler::v2::RegisterPersistentCachePeerRequest registration;
  registration.set_persistent(request.persistent);
  registration.set_tag(request.tag);
  registration.set_application(request.application);
  registration.set_piece_length(layout.piece_length());
  registration.set_piece_count(layout.piece_count());
  registration.set_concurrent_piece_count(static_cast<uint32_t>(parts.config.download.concurrent_piece_count));
  DF_CO_ASSIGN_OR_RETURN(std::vector<CandidateParent> parents,
                         co_await session.Register(std::move(registration), Clock::now() + kAnswerTimeout));
  session.Started();

  Lane& lane = parts.tasks.LaneOf(request.id);
  Wishes wishes;
  wishes.WantAll(*wishes.Join());
  std::vector<std::string> causes;
  for (uint64_t round = 0; !content->complete(); ++round) {
    if (round > 0) {
      if (round > parts.config.scheduler.max_schedule_count) {
        co_return absl::InternalError(StrCat(name, ": max schedule count ", parts.config.scheduler.max_schedule_count,
                                             " exceeded: ", absl::StrJoin(causes, "; ")));
      }
      auto next = co_await session.Reschedule(Clock::now() + kAnswerTimeout);
      if (!next.ok()) {
        co_return absl::Status(next.status().code(), ToAbsl(StrCat(name, ": ", MessageOf(next.status()),
                                                                   "; before: ", absl::StrJoin(causes, "; "))));
      }
      parents = *std::move(next);
    }
    ParentBatch::Options options;
    options.type = TaskType::kPersistentCache;
    options.host_id = parts.identity.host_id;
    options.concurrency = std::max<size_t>(1, parts.config.download.concurrent_piece_count);
    options.news_timeout = ToDuration(parts.config.download.collected_piece_timeout);
    options.seed = std::hash<std::string>()(peer_id);
    options.loads = lane.loads;
    options.peer_id = peer_id;
    ParentBatch::Reports reports;
    reports.finished = [this, &session](const storage::PieceRecord& record) {
      parts.probe.Traffic(record.traffic_type, TaskType::kPersistentCache, record.range.length);
      session.PieceFinished(record);
    };
    reports.failed = [&session](PieceNumber number, const std::string& parent_id) {
      session.PieceFailed(number, parent_id);
    };
    ParentBatch batch(lane, content, layout, wishes, parts.channels, std::move(options), std::move(reports));
    DF_CO_RETURN_IF_ERROR(co_await batch.Run(std::move(parents)));
    for (const std::string& cause : batch.causes()) {
      constexpr size_t kCausesMax = 16;
      if (causes.size() < kCausesMax) causes.push_back(cause);
    }
  }

  PersistentRecord record(request.id);
  record.peer_id = peer_id;
  record.persistent = request.persistent;
  record.ttl = absl::Seconds(task.ttl().seconds());
  record.created_at = CreatedAt(task);
  record.tag = task.tag();
  record.application = task.application();
  record.provisional = task.state() != kSucceeded;
  const std::function<absl::Status()> keep = [&] { return MakeDurable(*content, record); };
  co_return co_await parts.blocking.Run(keep);
}

}  // namespace dragonfly::daemon
