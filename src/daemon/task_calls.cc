// SPDX-License-Identifier: Apache-2.0
#include "daemon/task_calls.h"

#include <unistd.h>

#include <cerrno>
#include <functional>
#include <utility>

#include "base/status.h"
#include "base/text.h"
#include "daemon/piece_message.h"
#include "daemon/traced.h"
#include "daemon/tracing.h"
#include "telemetry/log.h"

namespace dragonfly::daemon {

namespace asio = boost::asio;
namespace wire = dfdaemon::v2;

namespace {

absl::StatusOr<std::string> ReadAll(const storage::PieceBytes& piece) {
  std::string bytes(piece.record.range.length, '\0');
  size_t done = 0;
  while (done < bytes.size()) {
    const ssize_t n = ::pread(piece.file->get(), bytes.data() + done, bytes.size() - done,
                              static_cast<off_t>(piece.record.range.offset + done));
    if (n < 0 && errno == EINTR) continue;
    if (n < 0) return ErrnoStatus(errno, StrCat("read piece ", piece.record.number.value()));
    if (n == 0) return absl::DataLossError(StrCat("the file ends inside piece ", piece.record.number.value()));
    done += static_cast<size_t>(n);
  }
  return bytes;
}

// The progress stream of one caller.
class ProgressStream final : public DownloadObserver {
 public:
  using Writer = rpc::ResponseWriter<wire::DownloadTaskResponse>;
  ProgressStream(std::shared_ptr<Writer> writer, TaskManager& tasks, const common::v2::Download& wanted)
      : writer_(std::move(writer)),
        blocking_(tasks.blocking()),
        trace_(tasks.probe().Under(writer_->trace())),
        with_content_(wanted.need_piece_content()),
        url_(UrlToShow(wanted.url())) {}

  // Guides tell to look for these words, and for task_id="..." behind the URL; see docs/telemetry.md.
  void LogEnd(const absl::Status& status) const {
    if (status.ok()) {
      DF_LOG(Info, "download task succeeded {}", Fields());
    } else {
      DF_LOG(Error, "download task failed: {} url=\"{}\" {}", MessageOf(status), url_, Fields());
    }
  }

  asio::awaitable<absl::Status> Started(const DownloadStarted& started) override {
    host_id_ = started.host_id;
    task_id_ = started.task_id.str();
    peer_id_ = started.peer_id;
    content_ = started.content;
    DF_LOG(Info, "download task started: url=\"{}\" {}", url_, Fields());
    wire::DownloadTaskResponse response = NewResponse();
    wire::DownloadTaskStartedResponse& message = *response.mutable_download_task_started_response();
    message.set_content_length(started.content_length.value_or(0));
    if (started.range) {
      message.mutable_range()->set_start(started.range->offset);
      message.mutable_range()->set_length(started.range->length);
    }
    message.mutable_response_header()->insert(started.response_header.begin(), started.response_header.end());
    message.set_is_finished(started.complete);
    if (started.wanted && started.content_length) AddWanted(started, message);
    co_return co_await writer_->Write(std::move(response));
  }

  asio::awaitable<absl::Status> PieceReady(const storage::PieceRecord& record) override {
    wire::DownloadTaskResponse response = NewResponse();
    common::v2::Piece& piece = *response.mutable_download_piece_finished_response()->mutable_piece();
    SetPiece(record, &piece);
    if (with_content_) {
      DF_CO_ASSIGN_OR_RETURN(storage::PieceBytes bytes, content_->OpenPiece(record.number));
      telemetry::Span span = trace_.Start("download_from_local_into_async_read");
      NamePiece(span, task_id_, record.number.value());
      DF_CO_ASSIGN_OR_RETURN(*piece.mutable_content(),
                             co_await Traced(std::move(span), ReadPiece(blocking_, std::move(bytes))));
    }
    co_return co_await writer_->Write(std::move(response));
  }

 private:
  std::string Fields() const {
    return StrCat("host_id=\"", host_id_, "\" task_id=\"", task_id_, "\" peer_id=\"", peer_id_, "\"");
  }

  wire::DownloadTaskResponse NewResponse() const {
    wire::DownloadTaskResponse response;
    response.set_host_id(host_id_);
    response.set_task_id(task_id_);
    response.set_peer_id(peer_id_);
    return response;
  }

  static void AddWanted(const DownloadStarted& started, wire::DownloadTaskStartedResponse& message) {
    const absl::StatusOr<PieceLayout> layout = PieceLayout::Make(*started.content_length, started.piece_length);
    if (!layout.ok()) return;
    const absl::Time now = absl::Now();
    for (PieceNumber number = started.wanted->first; number <= started.wanted->last; number = number.next()) {
      common::v2::Piece& piece = *message.add_pieces();
      const ByteRange range = layout->RangeOf(number);
      piece.set_number(number.value());
      piece.set_offset(range.offset);
      piece.set_length(range.length);
      SetTimestamp(now, piece.mutable_created_at());
    }
  }

  const std::shared_ptr<Writer> writer_;
  runtime::BlockingPool& blocking_;
  const telemetry::SpanParent trace_;
  const bool with_content_;
  const std::string url_;
  std::string host_id_;
  std::string task_id_;
  std::string peer_id_;
  std::shared_ptr<storage::TaskContent> content_;
};

void SetLocalTask(const storage::TaskContent& content, wire::StatLocalTaskResponse* out) {
  out->set_task_id(content.id().str());
  if (const std::optional<PieceLayout> layout = content.layout()) {
    out->set_piece_length(layout->piece_length());
    out->set_content_length(layout->content_length());
  }
  const std::map<std::string, std::string> header = content.response_header();
  out->mutable_response_header()->insert(header.begin(), header.end());
  SetTimestamp(content.created_at(), out->mutable_created_at());
  SetTimestamp(content.updated_at(), out->mutable_updated_at());
  if (content.complete()) {
    SetTimestamp(content.updated_at(), out->mutable_finished_at());
  } else if (!content.failure().ok()) {
    SetTimestamp(content.updated_at(), out->mutable_failed_at());
  }
}

}  // namespace

asio::awaitable<absl::StatusOr<std::string>> ReadPiece(runtime::BlockingPool& blocking, storage::PieceBytes piece) {
  if (piece.record.range.length <= kInlineReadMax) co_return ReadAll(piece);
  std::function<absl::StatusOr<std::string>()> job = [&piece] { return ReadAll(piece); };
  co_return co_await blocking.Run<std::string>(std::move(job));
}

asio::awaitable<absl::Status> DownloadTask(TaskManager& tasks, const CallGate& gate, wire::DownloadTaskRequest request,
                                           bool local,
                                           std::shared_ptr<rpc::ResponseWriter<wire::DownloadTaskResponse>> writer) {
  if (!request.has_download()) co_return absl::InvalidArgumentError("missing download");
  DF_CO_RETURN_IF_ERROR(gate.CheckDownload(request.download()));
  DownloadRequest download;
  download.trace = writer->trace();
  ProgressStream progress(std::move(writer), tasks, request.download());
  download.wire = std::make_shared<common::v2::Download>(std::move(*request.mutable_download()));
  download.local = local;
  download.origin.guarded = !local;
  download.origin.own_keys = local;
  const absl::Status status = co_await tasks.Download(std::move(download), progress);
  progress.LogEnd(status);
  co_return status;
}

asio::awaitable<absl::Status> StatTask(TaskManager& tasks, telemetry::SpanContext trace,
                                       const wire::StatTaskRequest& request, common::v2::Task* response) {
  DF_CO_ASSIGN_OR_RETURN(TaskId id, TaskId::Parse(request.task_id()));
  tasks.probe().StatTaskStarted(TaskType::kStandard);
  telemetry::Span span = tasks.probe().Under(std::move(trace)).Start("stat");
  const absl::StatusOr<std::string> task = co_await Traced(std::move(span), tasks.schedulers().StatTask(std::move(id)));
  if (!task.ok()) {
    tasks.probe().StatTaskFailed(TaskType::kStandard);
    co_return task.status();
  }
  if (!response->ParseFromString(*task)) co_return absl::InternalError("the scheduler's task does not parse");
  co_return absl::OkStatus();
}

asio::awaitable<absl::Status> StatLocalTask(TaskManager& tasks, const wire::StatLocalTaskRequest& request,
                                            wire::StatLocalTaskResponse* response) {
  DF_CO_ASSIGN_OR_RETURN(const TaskId id, TaskId::Parse(request.task_id()));
  const std::shared_ptr<storage::TaskContent> content = tasks.store().Find(id);
  if (!content) co_return absl::NotFoundError(StrCat("local task not found: ", id.str()));
  SetLocalTask(*content, response);
  co_return absl::OkStatus();
}

asio::awaitable<absl::Status> ListLocalTasks(TaskManager& tasks, wire::ListLocalTasksResponse* response) {
  for (const auto& content : tasks.store().List()) SetLocalTask(*content, response->add_tasks());
  co_return absl::OkStatus();
}

asio::awaitable<absl::Status> DeleteLocalTask(TaskManager& tasks, telemetry::SpanContext trace, std::string task_id) {
  DF_CO_ASSIGN_OR_RETURN(TaskId id, TaskId::Parse(task_id));
  tasks.probe().DeleteTaskStarted(TaskType::kStandard);
  telemetry::Span span = tasks.probe().Under(std::move(trace)).Start("delete");
  const absl::Status deleted = co_await Traced(std::move(span), tasks.Delete(std::move(id)));
  if (!deleted.ok()) tasks.probe().DeleteTaskFailed(TaskType::kStandard);
  co_return deleted;
}

asio::awaitable<absl::Status> DeleteTask(TaskManager& tasks, telemetry::SpanContext trace, std::string task_id) {
  DF_CO_ASSIGN_OR_RETURN(TaskId id, TaskId::Parse(task_id));
  absl::Status deleted = co_await DeleteLocalTask(tasks, std::move(trace), std::move(task_id));
  // The reference answers INTERNAL for a task that is not here.
  if (absl::IsNotFound(deleted)) co_return absl::InternalError(StrCat("task ", id.str(), " not found"));
  if (!deleted.ok()) co_return deleted;
  deleted = co_await tasks.schedulers().DeleteTask(id);
  if (!deleted.ok()) tasks.probe().DeleteTaskFailed(TaskType::kStandard);
  co_return Annotate(deleted, StrCat("delete task ", id.str(), " at the scheduler"));
}

asio::awaitable<absl::Status> DeleteHost(TaskManager& tasks) {
  tasks.probe().DeleteHostStarted();
  co_await tasks.schedulers().DeleteHost();
  co_return absl::OkStatus();
}

}  // namespace dragonfly::daemon
