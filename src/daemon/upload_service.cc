// SPDX-License-Identifier: Apache-2.0
#include "daemon/upload_service.h"

#include <algorithm>
#include <utility>

#include "base/status.h"
#include "base/text.h"
#include "daemon/admission.h"
#include "daemon/list_calls.h"
#include "daemon/object_tag.h"
#include "daemon/persistent_calls.h"
#include "daemon/piece_message.h"
#include "daemon/piece_set.h"
#include "daemon/service_calls.h"
#include "daemon/task_calls.h"
#include "daemon/traced.h"
#include "dfdaemon/v2/dfdaemon.grpc.pb.h"
#include "rpc/capability.h"
#include "rpc/given_pieces.h"
#include "rpc/trace_metadata.h"
#include "runtime/timeout.h"

namespace dragonfly::daemon {

namespace asio = boost::asio;
namespace wire = dfdaemon::v2;

namespace {

// Pieces of DownloadPiece that are in memory at once.
constexpr size_t kPiecesInMemoryMax = 16;
// How long a child waits for a task whose download has just begun, and for a piece that is being written.
// Children of v1.5.1 wait ten seconds for the headers of an answer.
constexpr Clock::duration kTaskWait = std::chrono::seconds(8);
constexpr Clock::duration kPieceWait = std::chrono::seconds(30);
constexpr Clock::duration kHostInterval = std::chrono::seconds(1);
// Word of given pieces is gathered for so long; and it ends when none was given for the first time for this long.
constexpr Clock::duration kGivenInterval = std::chrono::milliseconds(10);
constexpr Clock::duration kGivenQuiet = std::chrono::seconds(60);

// Counts a piece served by DownloadPiece.
class UploadCount {
 public:
  explicit UploadCount(Probe& probe) : probe_(probe) { probe_.UploadStarted(); }
  UploadCount(const UploadCount&) = delete;
  UploadCount& operator=(const UploadCount&) = delete;
  ~UploadCount() {
    if (!finished_) probe_.UploadFailed();
  }
  void Finish(uint64_t bytes) {
    finished_ = true;
    probe_.UploadFinished(TaskType::kStandard, bytes);
  }

 private:
  Probe& probe_;
  bool finished_ = false;
};

class UploadService final : public PersistentUploadCalls, public Service {
 public:
  UploadService(TaskManager& tasks, runtime::IoThreads& io, CallGate& gate, runtime::TokenBucket& limiter,
                GivenPieces& given, UploadServiceOptions options)
      : tasks_(tasks), limiter_(limiter), given_(given), options_(std::move(options)), calls_(io, gate) {
    PersistentCallParts parts;
    parts.tasks = options_.persistent;
    parts.calls = &calls_;
    parts.upload_limiter = &limiter_;
    parts.identity = options_.identity;
    parts.disable_shared = options_.disable_shared;
    ServePersistent(std::move(parts));
  }

  grpc::Service* grpc() override { return this; }
  asio::awaitable<void> Stop() override { return calls_.Stop(); }

  grpc::ServerWriteReactor<wire::DownloadTaskResponse>* DownloadTask(
      grpc::CallbackServerContext* context, const wire::DownloadTaskRequest* request) override {
    const absl::StatusOr<TaskId> id = TaskManager::IdOf(request->download());
    auto handle = [&tasks = tasks_, &gate = calls_.gate(),
                   message = *request](std::shared_ptr<rpc::ResponseWriter<wire::DownloadTaskResponse>> writer) {
      return daemon::DownloadTask(tasks, gate, message, /*local=*/false, std::move(writer));
    };
    return calls_.Stream<wire::DownloadTaskResponse>(context, id.ok() ? id->str() : "", std::move(handle));
  }

  grpc::ServerUnaryReactor* StatTask(grpc::CallbackServerContext* context, const wire::StatTaskRequest* request,
                                     common::v2::Task* response) override {
    return calls_.Unary(context, request->task_id(), [this, context, request, response] {
      return daemon::StatTask(tasks_, rpc::TraceOf(*context), *request, response);
    });
  }

  grpc::ServerUnaryReactor* StatLocalTask(grpc::CallbackServerContext* context,
                                          const wire::StatLocalTaskRequest* request,
                                          wire::StatLocalTaskResponse* response) override {
    return calls_.Unary(context, request->task_id(),
                        [this, context, request, response] { return TellOfTask(context, *request, response); });
  }

  grpc::ServerUnaryReactor* ListTaskEntries(grpc::CallbackServerContext* context,
                                            const wire::ListTaskEntriesRequest* request,
                                            wire::ListTaskEntriesResponse* response) override {
    return calls_.Unary(context, request->url(), [this, request, response] {
      return daemon::ListTaskEntries(tasks_, *request, /*local=*/false, response);
    });
  }

  grpc::ServerUnaryReactor* DeleteTask(grpc::CallbackServerContext* context, const wire::DeleteTaskRequest* request,
                                       google::protobuf::Empty*) override {
    return calls_.Unary(context, request->task_id(), [this, context, request] {
      return daemon::DeleteTask(tasks_, rpc::TraceOf(*context), request->task_id());
    });
  }

  grpc::ServerWriteReactor<wire::SyncPiecesResponse>* SyncPieces(grpc::CallbackServerContext* context,
                                                                 const wire::SyncPiecesRequest* request) override {
    auto handle = [this, context,
                   message = *request](std::shared_ptr<rpc::ResponseWriter<wire::SyncPiecesResponse>> writer) {
      return SendNews(context, message, std::move(writer));
    };
    return calls_.Stream<wire::SyncPiecesResponse>(context, request->task_id(), std::move(handle),
                                                   rpc::Headers::kByHandler);
  }

  grpc::ServerUnaryReactor* DownloadPiece(grpc::CallbackServerContext* context,
                                          const wire::DownloadPieceRequest* request,
                                          wire::DownloadPieceResponse* response) override {
    return calls_.Unary(context, request->task_id(), [this, context, request, response] {
      return SendPiece(rpc::TraceOf(*context), *request, response);
    });
  }

  grpc::ServerWriteReactor<common::v2::Host>* SyncHost(grpc::CallbackServerContext* context,
                                                       const wire::SyncHostRequest*) override {
    auto handle = [this](std::shared_ptr<rpc::ResponseWriter<common::v2::Host>> writer) {
      return SendHost(std::move(writer));
    };
    return calls_.Stream<common::v2::Host>(context, "", std::move(handle));
  }

 private:
  using NewsWriter = rpc::ResponseWriter<wire::SyncPiecesResponse>;

  asio::awaitable<absl::Status> SendNews(grpc::CallbackServerContext* context, wire::SyncPiecesRequest request,
                                         std::shared_ptr<NewsWriter> writer);
  asio::awaitable<absl::Status> TellOfTask(grpc::CallbackServerContext* context,
                                           const wire::StatLocalTaskRequest& request,
                                           wire::StatLocalTaskResponse* response);
  asio::awaitable<absl::Status> SendPiece(telemetry::SpanContext trace, const wire::DownloadPieceRequest& request,
                                          wire::DownloadPieceResponse* response);
  asio::awaitable<absl::Status> SendHost(std::shared_ptr<rpc::ResponseWriter<common::v2::Host>> writer);

  TaskManager& tasks_;
  runtime::TokenBucket& limiter_;
  GivenPieces& given_;
  const UploadServiceOptions options_;
  Admission admission_{kPiecesInMemoryMax};
  ServiceCalls calls_;
};

// Numbers from `count_max` on, which no piece can have, are left out.
PieceSet InterestedPieces(const wire::SyncPiecesRequest& request, uint32_t count_max) {
  uint32_t count = 0;
  for (const uint32_t number : request.interested_piece_numbers()) {
    if (number < count_max) count = std::max(count, number + 1);
  }
  PieceSet pieces(count);
  for (const uint32_t number : request.interested_piece_numbers()) pieces.Insert(PieceNumber(number));
  return pieces;
}

// What a child that follows is told about the pieces that were given (rpc/given_pieces.h).
class GivenNews {
 public:
  // `log`: null when it does not follow. `wanted`: what it has asked for.
  GivenNews(std::shared_ptr<const GivenPieces::Log> log, const PieceSet& wanted)
      : log_(std::move(log)), untold_(log_ ? wanted : PieceSet()) {}

  bool follows() const { return log_ != nullptr; }
  // Nothing was told since the last message or StartClock() for so long that little will come, or all is told.
  bool over(TimePoint now) const { return (untold_.empty() && fresh_.empty()) || now >= quiet_at_; }
  void StartClock(TimePoint now) { quiet_at_ = now + kGivenQuiet; }
  // When to look again though nothing has changed.
  TimePoint next_look() const { return fresh_.empty() ? quiet_at_ : next_at_; }

  // The next message, if one is due.
  std::optional<wire::SyncPiecesResponse> Next(TimePoint now) {
    if (!log_) return std::nullopt;
    for (const PieceNumber number : log_->Since(seen_)) {
      ++seen_;
      if (untold_.Erase(number)) fresh_.push_back(number);
    }
    if (fresh_.empty() || now < next_at_) return std::nullopt;
    wire::SyncPiecesResponse message;
    rpc::SetGiven(std::exchange(fresh_, {}), message);
    next_at_ = now + kGivenInterval;
    if (quiet_at_ != kNoDeadline) StartClock(now);
    return message;
  }

 private:
  const std::shared_ptr<const GivenPieces::Log> log_;
  PieceSet untold_;
  size_t seen_ = 0;                 // of the log
  std::vector<PieceNumber> fresh_;  // not told yet
  TimePoint next_at_ = TimePoint::min();
  TimePoint quiet_at_ = kNoDeadline;
};

// Tells a child of the pieces that it wants as they get finished, until it knows all or no more will come; one that
// follows then goes on to hear what is given.
asio::awaitable<absl::Status> UploadService::SendNews(grpc::CallbackServerContext* context,
                                                      wire::SyncPiecesRequest request,
                                                      std::shared_ptr<NewsWriter> writer) {
  DF_CO_ASSIGN_OR_RETURN(const TaskId id, TaskId::Parse(request.task_id()));
  const std::string name = StrCat("task ", id.str());
  absl::StatusOr<std::shared_ptr<storage::TaskContent>> found = absl::NotFoundError("");
  if (!options_.disable_shared) found = co_await tasks_.WhenContent(id, Clock::now() + kTaskWait);
  if (absl::IsNotFound(found.status())) co_return absl::InternalError(StrCat(name, " not found"));
  if (!found.ok()) co_return absl::InternalError(StrCat(name, " failed: ", MessageOf(found.status())));
  const std::shared_ptr<storage::TaskContent> content = *std::move(found);
  const std::string tag = ObjectTag(content->response_header());
  if (!tag.empty()) context->AddInitialMetadata(rpc::kObjectMetadata, tag);
  writer->SendHeaders();

  const std::optional<PieceLayout> layout = content->layout();
  PieceSet wanted = InterestedPieces(request, layout ? layout->piece_count() : kPieceCountMax);
  GivenNews given(rpc::FollowsGiven(request) ? given_.Follow(*content) : nullptr, wanted);
  bool all_told = false;
  for (size_t next = 0;;) {
    const uint64_t seen = content->changes().version();
    // Looked at before the pieces, so that none that came before the end is missed.
    const bool running = tasks_.Running(id);
    const absl::Status failure = content->failure();
    for (const storage::PieceRecord& record : content->FinishedSince(next)) {
      ++next;
      if (!wanted.Erase(record.number)) continue;
      wire::SyncPiecesResponse news;
      SetNews(record, options_.identity, &news);
      DF_CO_RETURN_IF_ERROR(co_await writer->Write(std::move(news)));
    }
    if (!all_told && (wanted.empty() || content->complete())) {
      if (!given.follows()) break;
      wire::SyncPiecesResponse message;
      rpc::SetAllTold(message);
      DF_CO_RETURN_IF_ERROR(co_await writer->Write(std::move(message)));
      all_told = true;
      given.StartClock(Clock::now());
    }
    if (std::optional<wire::SyncPiecesResponse> message = given.Next(Clock::now())) {
      DF_CO_RETURN_IF_ERROR(co_await writer->Write(*std::move(message)));
    }
    if (all_told) {
      if (!failure.ok() || given.over(Clock::now())) break;
    } else {
      if (!failure.ok() && (!running || tasks_.store().Find(id) != content)) {
        co_return absl::InternalError(StrCat(name, " failed: ", MessageOf(failure)));
      }
      if (!running) break;
    }
    co_await content->changes().Wait(seen, given.next_look());
  }
  co_return absl::OkStatus();
}

// As for this host, but a task whose download has just begun is waited for, and the age of the origin's word is told
// when it holds for everybody.
asio::awaitable<absl::Status> UploadService::TellOfTask(grpc::CallbackServerContext* context,
                                                        const wire::StatLocalTaskRequest& request,
                                                        wire::StatLocalTaskResponse* response) {
  DF_CO_ASSIGN_OR_RETURN(TaskId id, TaskId::Parse(request.task_id()));
  const auto content = co_await tasks_.WhenContent(std::move(id), Clock::now() + kTaskWait);
  if (content.ok()) {
    if (const std::optional<TimePoint> confirmed_at = (*content)->openly_confirmed_at()) {
      const auto age = std::chrono::ceil<std::chrono::milliseconds>(Clock::now() - *confirmed_at);
      context->AddInitialMetadata(rpc::kConfirmedMetadata, StrCat(std::max<int64_t>(0, age.count())));
    }
  }
  co_return co_await daemon::StatLocalTask(tasks_, request, response);
}

asio::awaitable<absl::Status> UploadService::SendPiece(telemetry::SpanContext trace,
                                                       const wire::DownloadPieceRequest& request,
                                                       wire::DownloadPieceResponse* response) {
  DF_CO_ASSIGN_OR_RETURN(const TaskId id, TaskId::Parse(request.task_id()));
  const PieceNumber number(request.piece_number());
  const std::shared_ptr<storage::TaskContent> content = options_.disable_shared ? nullptr : tasks_.store().Find(id);
  if (!content) co_return absl::NotFoundError("piece metadata not found");
  const absl::Status finished = co_await content->WhenFinished(number, Clock::now() + kPieceWait);
  if (absl::IsNotFound(finished)) co_return absl::NotFoundError("piece metadata not found");
  DF_CO_RETURN_IF_ERROR(finished);

  const Admission::Permit permit = co_await admission_.Enter();
  UploadCount count(tasks_.probe());
  DF_CO_ASSIGN_OR_RETURN(storage::PieceBytes bytes, content->OpenPiece(number));
  const storage::PieceRecord record = bytes.record;
  given_.Begun(*content, record);
  co_await limiter_.TakeInChunks(record.range.length);
  common::v2::Piece& piece = *response->mutable_piece();
  telemetry::Span span = tasks_.probe().Under(std::move(trace)).Start("upload_from_local_into_async_read");
  NamePiece(span, id.str(), number.value());
  DF_CO_ASSIGN_OR_RETURN(*piece.mutable_content(),
                         co_await Traced(std::move(span), ReadPiece(tasks_.blocking(), std::move(bytes))));
  SetPiece(record, &piece);
  response->set_digest(PieceMetadataDigest(number, record.range, piece.digest()));
  count.Finish(record.range.length);
  co_return absl::OkStatus();
}

asio::awaitable<absl::Status> UploadService::SendHost(std::shared_ptr<rpc::ResponseWriter<common::v2::Host>> writer) {
  for (;;) {
    common::v2::Host host;
    host.set_id(options_.identity.host_id);
    host.set_hostname(options_.identity.hostname);
    host.set_ip(options_.identity.ip);
    if (options_.fill_host) options_.fill_host(host);
    DF_CO_RETURN_IF_ERROR(co_await writer->Write(std::move(host)));
    co_await runtime::SleepUntil(Clock::now() + kHostInterval);
  }
}

}  // namespace

std::unique_ptr<Service> MakeUploadService(TaskManager& tasks, runtime::IoThreads& io, CallGate& gate,
                                           runtime::TokenBucket& upload_limiter, GivenPieces& given,
                                           UploadServiceOptions options) {
  return std::make_unique<UploadService>(tasks, io, gate, upload_limiter, given, std::move(options));
}

}  // namespace dragonfly::daemon
