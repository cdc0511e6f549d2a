// SPDX-License-Identifier: Apache-2.0
#include "daemon/persistent_calls.h"

#include <algorithm>
#include <utility>

#include "base/digest.h"
#include "base/status.h"
#include "base/text.h"
#include "common/v2/common.pb.h"
#include "daemon/piece_message.h"
#include "daemon/piece_set.h"
#include "daemon/task_calls.h"
#include "runtime/timeout.h"

namespace dragonfly::daemon {

namespace asio = boost::asio;
namespace wire = dfdaemon::v2;

namespace {

// How long a child waits for a task whose download has just begun, and for a piece that is being written; as for
// standard tasks.
constexpr Clock::duration kTaskWait = std::chrono::seconds(8);
constexpr Clock::duration kPieceWait = std::chrono::seconds(30);
constexpr int64_t kTimeoutSecondsMax = 10LL * 365 * 24 * 3600;

TimePoint DeadlineAfter(const google::protobuf::Duration& timeout) {
  if (timeout.seconds() < 0 || (timeout.seconds() == 0 && timeout.nanos() <= 0)) return kNoDeadline;
  return Clock::now() + std::chrono::seconds(std::min(timeout.seconds(), kTimeoutSecondsMax)) +
         std::chrono::nanoseconds(timeout.nanos());
}

// The progress stream of one caller.
class Progress final : public PersistentObserver {
 public:
  using Writer = rpc::ResponseWriter<wire::DownloadPersistentCacheTaskResponse>;
  Progress(std::shared_ptr<Writer> writer, PersistentTasks& tasks, const TaskId& id, bool with_content)
      : writer_(std::move(writer)), tasks_(tasks), id_(id), with_content_(with_content) {}

  asio::awaitable<absl::Status> Started(const std::string& peer_id,
                                        std::shared_ptr<storage::TaskContent> content) override {
    peer_id_ = peer_id;
    content_ = std::move(content);
    wire::DownloadPersistentCacheTaskResponse response = NewResponse();
    response.mutable_download_persistent_cache_task_started_response()->set_content_length(
        content_->layout()->content_length());
    co_return co_await writer_->Write(std::move(response));
  }

  asio::awaitable<absl::Status> PieceReady(const storage::PieceRecord& record) override {
    wire::DownloadPersistentCacheTaskResponse response = NewResponse();
    common::v2::Piece& piece = *response.mutable_download_piece_finished_response()->mutable_piece();
    SetPiece(record, &piece);
    if (with_content_) {
      DF_CO_ASSIGN_OR_RETURN(storage::PieceBytes bytes, content_->OpenPiece(record.number));
      DF_CO_ASSIGN_OR_RETURN(*piece.mutable_content(), co_await ReadPiece(tasks_.blocking(), std::move(bytes)));
    }
    co_return co_await writer_->Write(std::move(response));
  }

 private:
  wire::DownloadPersistentCacheTaskResponse NewResponse() const {
    wire::DownloadPersistentCacheTaskResponse response;
    response.set_host_id(tasks_.identity().host_id);
    response.set_task_id(id_.str());
    response.set_peer_id(peer_id_);
    return response;
  }

  const std::shared_ptr<Writer> writer_;
  PersistentTasks& tasks_;
  const TaskId id_;
  const bool with_content_;
  std::string peer_id_;
  std::shared_ptr<storage::TaskContent> content_;
};

// `local`: asked over the Unix socket.
asio::awaitable<absl::Status> DownloadTo(PersistentTasks& tasks, const CallGate& gate,
                                         wire::DownloadPersistentCacheTaskRequest request, bool local,
                                         std::shared_ptr<Progress::Writer> writer) {
  DF_CO_ASSIGN_OR_RETURN(const TaskId id, TaskId::Parse(request.task_id()));
  common::v2::Download asked;
  asked.set_type(common::v2::PERSISTENT_CACHE);
  asked.set_tag(request.tag());
  asked.set_application(request.application());
  DF_CO_RETURN_IF_ERROR(gate.CheckDownload(asked));
  PersistentDownloadRequest download(id);
  download.persistent = request.persistent();
  // Only schedulers ask other hosts to keep something.
  download.replica = request.persistent() && !local;
  download.tag = request.tag();
  download.application = request.application();
  if (!request.output_path().empty()) {
    if (!local)
      co_return absl::InvalidArgumentError(
          "output_path names a file of this host and is only taken on the Unix socket");
    if (request.output_path().front() != '/') {
      co_return absl::InvalidArgumentError(StrCat("output_path ", Quoted(request.output_path()), " is not absolute"));
    }
    download.output_path = request.output_path();
  }
  download.force_hard_link = request.force_hard_link();
  download.overwrite = request.overwrite();
  if (request.has_digest()) download.digest = request.digest();
  Progress progress(std::move(writer), tasks, id, request.need_piece_content());
  const TimePoint deadline = request.has_timeout() ? DeadlineAfter(request.timeout()) : kNoDeadline;
  asio::awaitable<absl::Status> work = tasks.Download(std::move(download), progress);
  if (deadline == kNoDeadline) co_return co_await std::move(work);
  co_return co_await runtime::WithDeadline(std::move(work), deadline);
}

asio::awaitable<absl::Status> StatInto(PersistentTasks& tasks, std::string task_id,
                                       common::v2::PersistentCacheTask* answer) {
  DF_CO_ASSIGN_OR_RETURN(TaskId id, TaskId::Parse(task_id));
  auto task = co_await tasks.Stat(std::move(id));
  if (!task.ok()) co_return task.status();
  *answer = std::move(**task);
  co_return absl::OkStatus();
}

asio::awaitable<absl::Status> ImportInto(PersistentTasks& tasks, const CallGate& gate,
                                         const wire::UploadPersistentCacheTaskRequest& request,
                                         common::v2::PersistentCacheTask* answer) {
  auto imported = co_await ImportPersistent(tasks, gate, request, /*hard_link=*/false, nullptr);
  if (!imported.ok()) co_return imported.status();
  *answer = std::move(*imported->task);
  co_return absl::OkStatus();
}

void SetLocal(const PersistentCopy& copy, wire::StatLocalPersistentCacheTaskResponse* out) {
  out->set_task_id(copy.record.id.str());
  out->set_persistent(copy.record.persistent);
  out->mutable_ttl()->set_seconds(absl::ToInt64Seconds(copy.record.ttl));
  if (const std::optional<PieceLayout> layout = copy.content->layout()) {
    out->set_piece_length(layout->piece_length());
    out->set_content_length(layout->content_length());
  }
  SetTimestamp(copy.record.created_at, out->mutable_created_at());
  SetTimestamp(copy.content->updated_at(), out->mutable_updated_at());
  if (copy.content->complete()) SetTimestamp(copy.content->updated_at(), out->mutable_finished_at());
}

asio::awaitable<absl::Status> StatLocalInto(const PersistentTasks& tasks, std::string task_id,
                                            wire::StatLocalPersistentCacheTaskResponse* answer) {
  DF_CO_ASSIGN_OR_RETURN(const TaskId id, TaskId::Parse(task_id));
  const std::optional<PersistentCopy> copy = tasks.Find(id);
  if (!copy) co_return absl::NotFoundError(StrCat("local persistent cache task not found: ", id.str()));
  SetLocal(*copy, answer);
  co_return absl::OkStatus();
}

asio::awaitable<absl::Status> ListLocalInto(const PersistentTasks& tasks,
                                            wire::ListLocalPersistentCacheTasksResponse* answer) {
  for (const PersistentCopy& copy : tasks.List()) SetLocal(copy, answer->add_tasks());
  co_return absl::OkStatus();
}

asio::awaitable<absl::Status> KeepCopy(PersistentTasks& tasks, std::string task_id, bool persistent) {
  DF_CO_ASSIGN_OR_RETURN(TaskId id, TaskId::Parse(task_id));
  // A promise is not taken back.
  if (!persistent) co_return absl::OkStatus();
  co_return co_await tasks.Keep(std::move(id));
}

asio::awaitable<absl::Status> DeleteCopy(PersistentTasks& tasks, std::string task_id) {
  DF_CO_ASSIGN_OR_RETURN(TaskId id, TaskId::Parse(task_id));
  tasks.probe().DeleteTaskStarted(TaskType::kPersistentCache);
  const absl::Status deleted = co_await tasks.DeleteLocal(std::move(id));
  if (!deleted.ok()) tasks.probe().DeleteTaskFailed(TaskType::kPersistentCache);
  co_return deleted;
}

}  // namespace

asio::awaitable<absl::StatusOr<PersistentImported>> ImportPersistent(
    PersistentTasks& tasks, const CallGate& gate, const wire::UploadPersistentCacheTaskRequest& request, bool hard_link,
    ImportObserver* observer) {
  BlockQuery query;
  query.application = request.application();
  query.tag = request.tag();
  DF_CO_RETURN_IF_ERROR(gate.CheckUpload(TaskType::kPersistentCache, query));
  PersistentImport import;
  import.path = request.path();
  if (request.has_content_for_calculating_task_id()) import.content = request.content_for_calculating_task_id();
  import.replica_count = request.persistent_replica_count();
  import.tag = request.tag();
  import.application = request.application();
  if (request.has_piece_length()) import.piece_length = request.piece_length();
  // Later clients leave it away.
  import.ttl = request.has_ttl() ? absl::Seconds(request.ttl().seconds()) : tasks.default_ttl();
  import.hard_link = hard_link;
  co_return co_await tasks.Import(std::move(import), observer);
}

// For other hosts.

#define DF_UNSERVED(method) \
  if (parts_.tasks == nullptr) return UnservedUploadCalls::method

grpc::ServerWriteReactor<wire::DownloadPersistentCacheTaskResponse>* PersistentUploadCalls::DownloadPersistentCacheTask(
    grpc::CallbackServerContext* context, const wire::DownloadPersistentCacheTaskRequest* request) {
  DF_UNSERVED(DownloadPersistentCacheTask)(context, request);
  auto handle = [this, message = *request](std::shared_ptr<Progress::Writer> writer) {
    return DownloadTo(*parts_.tasks, parts_.calls->gate(), message, /*local=*/false, std::move(writer));
  };
  return parts_.calls->Stream<wire::DownloadPersistentCacheTaskResponse>(context, request->task_id(),
                                                                         std::move(handle));
}

grpc::ServerUnaryReactor* PersistentUploadCalls::UpdatePersistentCacheTask(
    grpc::CallbackServerContext* context, const wire::UpdatePersistentCacheTaskRequest* request,
    google::protobuf::Empty* answer) {
  DF_UNSERVED(UpdatePersistentCacheTask)(context, request, answer);
  return parts_.calls->Unary(context, request->task_id(), [this, request] {
    return KeepCopy(*parts_.tasks, request->task_id(), request->persistent());
  });
}

grpc::ServerUnaryReactor* PersistentUploadCalls::StatPersistentCacheTask(
    grpc::CallbackServerContext* context, const wire::StatPersistentCacheTaskRequest* request,
    common::v2::PersistentCacheTask* answer) {
  DF_UNSERVED(StatPersistentCacheTask)(context, request, answer);
  return parts_.calls->Unary(context, request->task_id(),
                             [this, request, answer] { return StatInto(*parts_.tasks, request->task_id(), answer); });
}

grpc::ServerUnaryReactor* PersistentUploadCalls::DeletePersistentCacheTask(
    grpc::CallbackServerContext* context, const wire::DeletePersistentCacheTaskRequest* request,
    google::protobuf::Empty* answer) {
  DF_UNSERVED(DeletePersistentCacheTask)(context, request, answer);
  return parts_.calls->Unary(context, request->task_id(),
                             [this, request] { return DeleteCopy(*parts_.tasks, request->task_id()); });
}

grpc::ServerWriteReactor<wire::SyncPersistentCachePiecesResponse>* PersistentUploadCalls::SyncPersistentCachePieces(
    grpc::CallbackServerContext* context, const wire::SyncPersistentCachePiecesRequest* request) {
  DF_UNSERVED(SyncPersistentCachePieces)(context, request);
  auto handle = [this, message = *request](std::shared_ptr<NewsWriter> writer) {
    return SendNews(message, std::move(writer));
  };
  return parts_.calls->Stream<wire::SyncPersistentCachePiecesResponse>(context, request->task_id(), std::move(handle));
}

grpc::ServerUnaryReactor* PersistentUploadCalls::DownloadPersistentCachePiece(
    grpc::CallbackServerContext* context, const wire::DownloadPersistentCachePieceRequest* request,
    wire::DownloadPersistentCachePieceResponse* answer) {
  DF_UNSERVED(DownloadPersistentCachePiece)(context, request, answer);
  return parts_.calls->Unary(context, request->task_id(),
                             [this, request, answer] { return SendPiece(*request, answer); });
}
#undef DF_UNSERVED

// Tells a child of the pieces that it wants as they get finished, until it knows all or no more will come.
asio::awaitable<absl::Status> PersistentUploadCalls::SendNews(wire::SyncPersistentCachePiecesRequest request,
                                                              std::shared_ptr<NewsWriter> writer) {
  DF_CO_ASSIGN_OR_RETURN(const TaskId id, TaskId::Parse(request.task_id()));
  const std::string name = StrCat("task ", id.str());
  uint32_t count = 0;
  for (const uint32_t number : request.interested_piece_numbers()) {
    if (number < kPieceCountMax) count = std::max(count, number + 1);
  }
  PieceSet wanted(count);
  for (const uint32_t number : request.interested_piece_numbers()) wanted.Insert(PieceNumber(number));
  absl::StatusOr<std::shared_ptr<storage::TaskContent>> found = absl::NotFoundError("");
  if (!parts_.disable_shared) found = co_await parts_.tasks->WhenContent(id, Clock::now() + kTaskWait);
  if (absl::IsNotFound(found.status())) co_return absl::InternalError(StrCat(name, " not found"));
  if (!found.ok()) co_return absl::InternalError(StrCat(name, " failed: ", MessageOf(found.status())));
  const std::shared_ptr<storage::TaskContent> content = *std::move(found);
  for (size_t next = 0; !wanted.empty();) {
    const uint64_t seen = content->changes().version();
    // Looked at before the pieces, so that none that came before the end is missed.
    const bool running = parts_.tasks->Running(id);
    const absl::Status failure = content->failure();
    for (const storage::PieceRecord& record : content->FinishedSince(next)) {
      ++next;
      if (!wanted.Erase(record.number)) continue;
      wire::SyncPersistentCachePiecesResponse news;
      SetNews(record, parts_.identity, &news);
      DF_CO_RETURN_IF_ERROR(co_await writer->Write(std::move(news)));
    }
    if (content->complete()) break;
    if (!failure.ok()) co_return absl::InternalError(StrCat(name, " failed: ", MessageOf(failure)));
    if (!running) break;
    co_await content->changes().Wait(seen);
  }
  co_return absl::OkStatus();
}

asio::awaitable<absl::Status> PersistentUploadCalls::SendPiece(const wire::DownloadPersistentCachePieceRequest& request,
                                                               wire::DownloadPersistentCachePieceResponse* answer) {
  constexpr char kNotFound[] = "persistent cache piece metadata not found";
  DF_CO_ASSIGN_OR_RETURN(const TaskId id, TaskId::Parse(request.task_id()));
  const PieceNumber number(request.piece_number());
  const std::shared_ptr<storage::TaskContent> content =
      parts_.disable_shared ? nullptr : parts_.tasks->store().Find(id);
  if (!content) co_return absl::NotFoundError(kNotFound);
  const absl::Status finished = co_await content->WhenFinished(number, Clock::now() + kPieceWait);
  if (absl::IsNotFound(finished)) co_return absl::NotFoundError(kNotFound);
  DF_CO_RETURN_IF_ERROR(finished);
  const Admission::Permit permit = co_await cache_admission_.Enter();
  DF_CO_ASSIGN_OR_RETURN(storage::PieceBytes bytes, content->OpenPiece(number));
  const storage::PieceRecord record = bytes.record;
  co_await parts_.upload_limiter->TakeInChunks(record.range.length);
  parts_.tasks->probe().UploadStarted();
  absl::StatusOr<std::string> read = co_await ReadPiece(parts_.tasks->blocking(), std::move(bytes));
  if (!read.ok()) {
    parts_.tasks->probe().UploadFailed();
    co_return read.status();
  }
  common::v2::Piece& piece = *answer->mutable_piece();
  *piece.mutable_content() = *std::move(read);
  SetPiece(record, &piece);
  answer->set_digest(PieceMetadataDigest(number, record.range, piece.digest()));
  parts_.tasks->probe().UploadFinished(TaskType::kPersistentCache, record.range.length);
  co_return absl::OkStatus();
}

// For programs on this host.

#define DF_UNSERVED(method) \
  if (parts_.tasks == nullptr) return UnservedDownloadCalls::method

grpc::ServerWriteReactor<wire::DownloadPersistentCacheTaskResponse>*
PersistentDownloadCalls::DownloadPersistentCacheTask(grpc::CallbackServerContext* context,
                                                     const wire::DownloadPersistentCacheTaskRequest* request) {
  DF_UNSERVED(DownloadPersistentCacheTask)(context, request);
  auto handle = [this, message = *request](std::shared_ptr<Progress::Writer> writer) {
    return DownloadTo(*parts_.tasks, parts_.calls->gate(), message, /*local=*/true, std::move(writer));
  };
  return parts_.calls->Stream<wire::DownloadPersistentCacheTaskResponse>(context, request->task_id(),
                                                                         std::move(handle));
}

grpc::ServerUnaryReactor* PersistentDownloadCalls::UploadPersistentCacheTask(
    grpc::CallbackServerContext* context, const wire::UploadPersistentCacheTaskRequest* request,
    common::v2::PersistentCacheTask* answer) {
  DF_UNSERVED(UploadPersistentCacheTask)(context, request, answer);
  return parts_.calls->Unary(context, "", [this, request, answer] {
    return ImportInto(*parts_.tasks, parts_.calls->gate(), *request, answer);
  });
}

grpc::ServerUnaryReactor* PersistentDownloadCalls::StatPersistentCacheTask(
    grpc::CallbackServerContext* context, const wire::StatPersistentCacheTaskRequest* request,
    common::v2::PersistentCacheTask* answer) {
  DF_UNSERVED(StatPersistentCacheTask)(context, request, answer);
  return parts_.calls->Unary(context, request->task_id(),
                             [this, request, answer] { return StatInto(*parts_.tasks, request->task_id(), answer); });
}

grpc::ServerUnaryReactor* PersistentDownloadCalls::StatLocalPersistentCacheTask(
    grpc::CallbackServerContext* context, const wire::StatLocalPersistentCacheTaskRequest* request,
    wire::StatLocalPersistentCacheTaskResponse* answer) {
  DF_UNSERVED(StatLocalPersistentCacheTask)(context, request, answer);
  return parts_.calls->Unary(context, request->task_id(), [this, request, answer] {
    return StatLocalInto(*parts_.tasks, request->task_id(), answer);
  });
}

grpc::ServerUnaryReactor* PersistentDownloadCalls::ListLocalPersistentCacheTasks(
    grpc::CallbackServerContext* context, const wire::ListLocalPersistentCacheTasksRequest* request,
    wire::ListLocalPersistentCacheTasksResponse* answer) {
  DF_UNSERVED(ListLocalPersistentCacheTasks)(context, request, answer);
  return parts_.calls->Unary(context, "", [this, answer] { return ListLocalInto(*parts_.tasks, answer); });
}
#undef DF_UNSERVED

}  // namespace dragonfly::daemon
