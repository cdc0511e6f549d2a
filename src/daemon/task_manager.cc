// SPDX-License-Identifier: Apache-2.0
#include "daemon/task_manager.h"

#include <algorithm>
#include <utility>

#include "absl/base/thread_annotations.h"
#include "absl/container/flat_hash_map.h"
#include "absl/synchronization/mutex.h"
#include "base/backend_error.h"
#include "base/status.h"
#include "base/task_id.h"
#include "base/text.h"
#include "common/v2/common.pb.h"
#include "daemon/caller.h"
#include "daemon/copy_announcement.h"
#include "daemon/lanes.h"
#include "daemon/origin_access.h"
#include "daemon/origin_listing.h"
#include "daemon/prefetcher.h"
#include "daemon/revalidation.h"
#include "daemon/task_download.h"
#include "runtime/run_on.h"
#include "runtime/timeout.h"
#include "telemetry/log.h"

namespace dragonfly::daemon {

namespace asio = boost::asio;

namespace {

// How often a caller may meet downloads that fail for the sake of somebody else.
constexpr int kAttemptsMax = 3;

}  // namespace

struct TaskManager::State {
  State(TaskManagerParts p, TaskManager& manager)
      : parts(std::move(p)), lanes(parts), prefetcher(manager, lanes, parts.probe) {}

  Lane& LaneFor(const TaskId& id) { return lanes.For(id.str()); }

  struct Joined {
    std::shared_ptr<TaskDownload> download;
    Wishes::Id wish = 0;
    bool first = false;  // of its callers
  };
  absl::StatusOr<Joined> Join(const TaskId& id, const Caller& caller);
  asio::awaitable<void> RunDownload(std::shared_ptr<TaskDownload> download);
  std::shared_ptr<TaskDownload> Find(const TaskId& id) const {
    absl::MutexLock lock(&mutex);
    const auto it = running.find(id);
    return it == running.end() ? nullptr : it->second;
  }
  // One caller's way through a download that is not on this host yet.
  asio::awaitable<absl::Status> Follow(Caller& caller, const TaskId& id);
  // Whether the origin lets `caller` have what another caller's request has got; OK when it cannot be asked.
  asio::awaitable<absl::Status> AskForAccess(Caller& caller, const TaskId& id);
  asio::awaitable<absl::Status> FollowOnce(Caller& caller, Joined joined, bool ask);
  asio::awaitable<absl::Status> FollowShaped(Caller& caller, TaskDownload& download, Wishes::Id wish);
  // Of a caller that wants the bytes in memory.
  asio::awaitable<void> ReadAhead(std::shared_ptr<storage::TaskContent> content) const;
  // Serves `caller` from what is here, or by the task's running download.
  asio::awaitable<absl::Status> Serve(Caller& caller, TaskId id, std::shared_ptr<storage::TaskContent> here);

  const TaskManagerParts parts;
  Lanes lanes;
  Prefetcher prefetcher;
  mutable absl::Mutex mutex;
  bool stopped ABSL_GUARDED_BY(mutex) = false;
  absl::flat_hash_map<TaskId, std::shared_ptr<TaskDownload>> running ABSL_GUARDED_BY(mutex);
};

absl::StatusOr<TaskManager::State::Joined> TaskManager::State::Join(const TaskId& id, const Caller& caller) {
  const std::shared_ptr<const common::v2::Download>& wire = caller.wire();
  Joined joined;
  absl::MutexLock lock(&mutex);
  if (stopped) return absl::UnavailableError("the daemon is stopping");
  std::shared_ptr<TaskDownload>& download = running[id];
  if (download != nullptr) {
    if (const std::optional<Wishes::Id> wish = download->Join(*wire)) {
      joined.download = download;
      joined.wish = *wish;
      return joined;
    }
  }
  Lane& lane = LaneFor(id);
  download = std::make_shared<TaskDownload>(id, wire, caller.origin(), parts, lane, download);
  download->TraceUnder(parts.probe.Under(caller.trace()));
  joined.download = download;
  joined.wish = *download->Join(*wire);
  joined.first = true;
  lane.group.Spawn(RunDownload(download));
  return joined;
}

asio::awaitable<void> TaskManager::State::RunDownload(std::shared_ptr<TaskDownload> download) {
  co_await download->Run();
  absl::MutexLock lock(&mutex);
  const auto it = running.find(download->id());
  if (it != running.end() && it->second == download) running.erase(it);
}

asio::awaitable<absl::Status> TaskManager::State::FollowShaped(Caller& caller, TaskDownload& download,
                                                               Wishes::Id wish) {
  // Who was there from the start sees everything come, however quick it was.
  const bool from_the_start = !download.shaped();
  DF_CO_ASSIGN_OR_RETURN(const TaskShape shape, co_await download.WhenShaped());
  caller.SeeContent(shape.content, from_the_start ? shape.before : SIZE_MAX);
  if (caller.reads_in_order()) download.wishes().ReadInOrder(wish);
  if (!shape.content->layout()) {
    // Of an origin that tells no length everything is read.
    download.wishes().WantAll(wish);
    if (caller.wants_range()) DF_CO_RETURN_IF_ERROR(co_await caller.WaitForLength(download));
  }
  if (const std::optional<PieceLayout> layout = shape.content->layout()) {
    DF_CO_RETURN_IF_ERROR(caller.ResolveRange(*layout));
    const std::optional<PieceLayout::Interval> wanted = caller.WantedOf(*layout);
    if (!wanted) {
      download.wishes().WantNothing(wish);
    } else if (caller.wants_range()) {
      download.wishes().WantPieces(wish, *wanted);
    } else {
      download.wishes().WantAll(wish);
    }
  }
  co_return co_await caller.Follow(shape.piece_length, &download);
}

asio::awaitable<absl::Status> TaskManager::State::FollowOnce(Caller& caller, Joined joined, bool ask) {
  // Leaves on every way out, cancellation included.
  struct Membership {
    Joined& joined;
    bool satisfied = false;
    ~Membership() { joined.download->Leave(joined.wish, satisfied); }
  };
  Membership membership{joined};
  if (ask) DF_CO_RETURN_IF_ERROR(co_await AskForAccess(caller, joined.download->id()));
  const absl::Status status = co_await FollowShaped(caller, *joined.download, joined.wish);
  membership.satisfied = status.ok();
  co_return status;
}

namespace {

asio::awaitable<absl::StatusOr<source::OriginStat>> StatOn(Lane& lane, source::OriginRequest request) {
  DF_CO_ASSIGN_OR_RETURN(source::Source* const source, lane.sources->For(request.url));
  co_return co_await source->Stat(std::move(request));
}

// The origin has looked at the request and does not want it.
bool IsRefusal(const absl::Status& status) {
  const std::optional<BackendError> error = GetBackendError(status);
  return error && error->status_code && !IsOutOfReach(status);
}

}  // namespace

asio::awaitable<absl::Status> TaskManager::State::AskForAccess(Caller& caller, const TaskId& id) {
  source::OriginRequest request = MakeOriginRequest(*caller.wire(), caller.origin());
  request.deadline =
      Clock::now() + absl::ToChronoNanoseconds(std::min(parts.config.download.piece_timeout, absl::Hours(24)));
  Lane& lane = LaneFor(id);
  const absl::StatusOr<source::OriginStat> stat =
      co_await runtime::RunOn(lane.executor, StatOn(lane, std::move(request)));
  if (stat.ok()) {
    caller.OriginAccepts();
    co_return absl::OkStatus();
  }
  if (!IsOutOfReach(stat.status())) co_return stat.status();
  DF_LOG(Warn, "task {}: its origin cannot be asked whether another caller may have it: {}", id.str(),
         stat.status().ToString());
  co_return absl::OkStatus();
}

asio::awaitable<absl::Status> TaskManager::State::Follow(Caller& caller, const TaskId& id) {
  const bool ask = !caller.origin().access_checked && !MayShareUnasked(parts.config.storage, *caller.wire());
  const auto must_ask = [&](const TaskDownload& download) {
    return ask && !caller.accepted() && download.KeepsFrom(*caller.wire(), caller.origin());
  };
  for (int attempt = 1;; ++attempt) {
    // Before it joins, so that nobody waits for its wish meanwhile.
    if (const std::shared_ptr<TaskDownload> old = Find(id); old && !old->outcome() && must_ask(*old)) {
      DF_CO_RETURN_IF_ERROR(co_await AskForAccess(caller, id));
    }
    DF_CO_ASSIGN_OR_RETURN(Joined joined, Join(id, caller));
    const bool others = !joined.first && joined.download->AsksForAnother(*caller.wire(), caller.origin());
    const bool unasked = !joined.first && must_ask(*joined.download);
    const absl::Status status = co_await FollowOnce(caller, std::move(joined), unasked);
    // What the origin has said to somebody else is no answer to this caller.
    if (!others || unasked || caller.started() || !IsRefusal(status) || attempt >= kAttemptsMax) co_return status;
  }
}

asio::awaitable<void> TaskManager::State::ReadAhead(std::shared_ptr<storage::TaskContent> content) const {
  const uint64_t limit = parts.config.storage.cache_capacity;
  const std::function<absl::Status()> read = [content, limit] { return content->ReadAhead(limit); };
  const absl::Status status = co_await parts.blocking.Run(read);
  if (!status.ok()) DF_LOG(Debug, "task {}: read ahead: {}", content->id().str(), MessageOf(status));
}

TaskManager::TaskManager(TaskManagerParts parts) : state_(std::make_shared<State>(std::move(parts), *this)) {}
TaskManager::~TaskManager() = default;

absl::StatusOr<TaskId> TaskManager::IdOf(const common::v2::Download& download) {
  UrlTaskKey key;
  // The order of client v1.3.4: content, blob digest, URL.
  if (download.enable_task_id_based_blob_digest() && !download.has_content_for_calculating_task_id()) {
    if (std::optional<TaskId> id = BlobDigestTaskId(download.url())) return *std::move(id);
  }
  key.url = download.url();
  key.filtered_query_params.assign(download.filtered_query_params().begin(), download.filtered_query_params().end());
  key.tag = download.tag();
  key.application = download.application();
  if (download.has_hugging_face()) key.revision = download.hugging_face().revision();
  if (download.has_model_scope()) key.revision = download.model_scope().revision();
  if (download.has_piece_length()) key.piece_length = download.piece_length();
  if (download.has_content_for_calculating_task_id()) key.content = download.content_for_calculating_task_id();
  return UrlTaskId(key);
}

namespace {

// When the caller gives up; kNoDeadline without a word about it.
TimePoint DeadlineOf(const common::v2::Download& wire) {
  constexpr int64_t kSecondsMax = 10LL * 365 * 24 * 3600;
  if (!wire.has_timeout()) return kNoDeadline;
  const int64_t seconds = std::min(wire.timeout().seconds(), kSecondsMax);
  if (seconds < 0 || (seconds == 0 && wire.timeout().nanos() <= 0)) return kNoDeadline;
  return Clock::now() + std::chrono::seconds(seconds) + std::chrono::nanoseconds(wire.timeout().nanos());
}

}  // namespace

asio::awaitable<absl::Status> TaskManager::State::Serve(Caller& caller, TaskId id,
                                                        std::shared_ptr<storage::TaskContent> here) {
  if (here == nullptr) co_return co_await Follow(caller, id);
  const uint64_t piece_length = here->layout()->piece_length();
  if (caller.wire()->load_to_cache()) co_await ReadAhead(here);
  caller.SeeContent(std::move(here));
  co_return co_await caller.Follow(piece_length, nullptr);
}

asio::awaitable<absl::Status> TaskManager::Download(DownloadRequest request, DownloadObserver& observer) {
  const std::shared_ptr<State> state = state_;
  DF_CO_ASSIGN_OR_RETURN(const TaskId id, IdOf(*request.wire));
  const std::shared_ptr<const common::v2::Download> wire = request.wire;
  const bool local = request.local;
  Caller caller(id, std::move(request), observer, state->parts);
  DF_CO_RETURN_IF_ERROR(caller.Check());
  DF_LOG(Debug, "task {}: wanted by {}, application {}, tag {}", id.str(),
         Quoted(wire->has_remote_ip() ? wire->remote_ip()
                : local               ? "this host"
                                      : "a peer"),
         Quoted(wire->application()), Quoted(wire->tag()));

  std::shared_ptr<storage::TaskContent> content = state->parts.store.Find(id);
  const std::optional<PieceLayout> layout = content != nullptr ? content->layout() : std::nullopt;
  const bool complete = content != nullptr && content->complete();
  if (wire->metadata_only() && !complete) {
    co_return absl::FailedPreconditionError(
        StrCat("task ", id.str(), " is not complete on this host: there is nothing to tell the scheduler"));
  }
  bool here = false;
  if (layout && MayUseUnasked(state->parts.config.storage, *content, *wire, Clock::now())) {
    const absl::Status resolved = caller.ResolveRange(*layout);
    here = complete || (resolved.ok() && caller.range() && content->HasRange(*caller.range()));
    if (complete) DF_CO_RETURN_IF_ERROR(resolved);
  }
  DF_CO_RETURN_IF_ERROR(co_await caller.CheckOutput(content));
  if (wire->prefetch() && caller.wants_range() && !complete) state->prefetcher.Start(id, caller);
  if (!here) content = nullptr;
  const TimePoint deadline = DeadlineOf(*wire);
  absl::Status status;
  if (deadline == kNoDeadline) {
    status = co_await state->Serve(caller, id, std::move(content));
  } else {
    status = co_await runtime::WithDeadline(state->Serve(caller, id, std::move(content)), deadline);
    if (absl::IsDeadlineExceeded(status) && Clock::now() >= deadline) {
      status = absl::DeadlineExceededError(
          StrCat("download task ", id.str(), ": not done within the ", wire->timeout().seconds(), " s of its timeout"));
    }
  }
  // A scheduler that sends a host to the origin does not know that the host has the task.
  if (status.ok() && complete && (wire->need_back_to_source() || wire->metadata_only())) {
    Lane& lane = state->LaneFor(id);
    lane.group.Spawn(AnnounceCopy(state->parts, id, wire));
  }
  co_return caller.End(std::move(status));
}

bool TaskManager::Running(const TaskId& id) const {
  const std::shared_ptr<TaskDownload> download = state_->Find(id);
  return download != nullptr && !download->outcome();
}

asio::awaitable<absl::StatusOr<std::shared_ptr<storage::TaskContent>>> TaskManager::WhenContent(TaskId id,
                                                                                                TimePoint deadline) {
  const std::shared_ptr<State> state = state_;
  if (std::shared_ptr<storage::TaskContent> content = state->parts.store.Find(id)) co_return content;
  if (const std::shared_ptr<TaskDownload> download = state->Find(id)) {
    const absl::StatusOr<TaskShape> shape = co_await download->WhenShaped(deadline);
    if (shape.ok()) co_return shape->content;
    if (!absl::IsDeadlineExceeded(shape.status())) co_return shape.status();
  }
  co_return absl::NotFoundError(StrCat("task ", id.str(), " not found"));
}

asio::awaitable<absl::Status> TaskManager::Delete(TaskId id) {
  const std::shared_ptr<State> state = state_;
  const std::shared_ptr<TaskDownload> download = state->Find(id);
  if (download) {
    download->Cancel(absl::CancelledError(StrCat("task ", id.str(), " was deleted")));
    co_await download->WhenEnded();
  }
  absl::Status deleted = state->parts.store.Delete(id);
  if (download && absl::IsNotFound(deleted)) co_return absl::OkStatus();
  co_return deleted;
}

asio::awaitable<void> TaskManager::Stop() {
  const std::shared_ptr<State> state = state_;
  {
    absl::MutexLock lock(&state->mutex);
    state->stopped = true;
  }
  state->prefetcher.Stop();
  co_await state->lanes.Stop();
  std::vector<std::shared_ptr<TaskDownload>> never_begun;
  {
    absl::MutexLock lock(&state->mutex);
    for (const auto& [id, download] : state->running) never_begun.push_back(download);
    state->running.clear();
  }
  for (const auto& download : never_begun) download->End(absl::CancelledError("the daemon is stopping"));
  co_await state->lanes.Close();
}

asio::awaitable<absl::StatusOr<OriginListing>> TaskManager::ListOrigin(source::OriginRequest request) {
  Lane& lane = state_->lanes.For(request.url);
  co_return co_await runtime::RunOn(lane.executor, daemon::ListOrigin(*lane.sources, std::move(request)));
}

const HostIdentity& TaskManager::identity() const { return state_->parts.identity; }
absl::Duration TaskManager::piece_timeout() const { return state_->parts.config.download.piece_timeout; }
storage::ContentStore& TaskManager::store() { return state_->parts.store; }
SchedulerLink& TaskManager::schedulers() { return state_->parts.schedulers; }
runtime::BlockingPool& TaskManager::blocking() { return state_->parts.blocking; }
Probe& TaskManager::probe() { return state_->parts.probe; }

Lane& TaskManager::LaneOf(const TaskId& id) { return state_->LaneFor(id); }

}  // namespace dragonfly::daemon
