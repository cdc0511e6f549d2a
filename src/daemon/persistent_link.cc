// SPDX-License-Identifier: Apache-2.0
#include "daemon/persistent_link.h"

#include <google/protobuf/empty.pb.h>
#include <grpcpp/channel.h>

#include <utility>

#include "base/host_port.h"
#include "base/status.h"
#include "base/text.h"
#include "daemon/piece_message.h"
#include "rpc/client_call.h"
#include "scheduler/v2/scheduler.grpc.pb.h"
#include "telemetry/log.h"

namespace dragonfly::daemon {
namespace asio = boost::asio;
namespace {

namespace api = scheduler::v2;
using google::protobuf::Empty;
using Stub = api::Scheduler::Stub;
using Request = api::AnnouncePersistentCachePeerRequest;
using Response = api::AnnouncePersistentCachePeerResponse;
using Stream = rpc::BidiStream<Request, Response>;

absl::Status NoScheduler() { return absl::UnavailableError("no scheduler serves"); }

// One unary call of `method` on the scheduler at `address`.
template <typename Answer, typename Question, typename Method>
asio::awaitable<absl::StatusOr<Answer>> CallAt(SchedulerSet& schedulers, std::string address, Question request,
                                               Method method, Clock::duration timeout) {
  const std::shared_ptr<Stub> stub = api::Scheduler::NewStub(schedulers.ChannelTo(address));
  const auto start = [stub, method](grpc::ClientContext* context, const Question* asked, Answer* answer,
                                    std::function<void(grpc::Status)> done) {
    (stub->async()->*method)(context, asked, answer, std::move(done));
  };
  auto response = co_await rpc::Unary<Answer>(start, std::move(request), timeout);
  if (absl::IsUnavailable(response.status())) schedulers.Suspect(address);
  if (!response.ok()) co_return Annotate(response.status(), StrCat("scheduler ", address));
  co_return std::move(response);
}

// The overload of an async stub's method that calls back with a status.
template <typename Question, typename Answer>
using Async = void (Stub::async::*)(grpc::ClientContext*, const Question*, Answer*, std::function<void(grpc::Status)>);

bool Usable(const common::v2::PersistentCachePeer& peer) {
  return CheckNameId(peer.id(), "id").ok() && CheckNameId(peer.host().id(), "host.id").ok() &&
         IsIpLiteral(peer.host().ip()) && peer.host().port() > 0 && peer.host().port() <= 65535;
}

class GrpcPersistentSession final : public PersistentSession {
 public:
  GrpcPersistentSession(std::shared_ptr<const PersistentLink::Options> options, SchedulerSet& schedulers,
                        std::vector<std::string> candidates, TaskId task, std::string peer_id)
      : options_(std::move(options)),
        schedulers_(schedulers),
        candidates_(std::move(candidates)),
        task_(std::move(task)),
        peer_id_(std::move(peer_id)) {}
  ~GrpcPersistentSession() override {
    if (stream_ != nullptr) stream_->Cancel();
  }

  asio::awaitable<absl::StatusOr<std::vector<CandidateParent>>> Register(
      api::RegisterPersistentCachePeerRequest registration, TimePoint deadline) override {
    Request request = NewRequest();
    *request.mutable_register_persistent_cache_peer_request() = std::move(registration);
    absl::Status first_error = NoScheduler();
    bool tried = false;
    for (const std::string& address : candidates_) {
      absl::StatusOr<std::vector<CandidateParent>> answer = absl::UnknownError("");
      for (bool announced = false;; announced = true) {
        Open(address);
        stream_->Write(request);
        answer = co_await Answer(deadline);
        // A scheduler that was restarted has forgotten this host.
        const bool stranger = absl::IsNotFound(answer.status()) &&
                              MessageOf(answer.status()).find(StrCat("host ", options_->host_id)) != std::string::npos;
        if (!stranger || announced || options_->announce == nullptr) break;
        if (!(co_await options_->announce(address)).ok()) break;
      }
      if (!absl::IsUnavailable(answer.status()) && !absl::IsDeadlineExceeded(answer.status())) co_return answer;
      schedulers_.Suspect(address);
      if (!std::exchange(tried, true)) first_error = answer.status();
      if (Clock::now() >= deadline) break;
    }
    stream_.reset();
    co_return first_error;
  }

  asio::awaitable<absl::StatusOr<std::vector<CandidateParent>>> Reschedule(TimePoint deadline) override {
    if (stream_ == nullptr) co_return absl::FailedPreconditionError("not registered");
    Request request = NewRequest();
    auto& reschedule = *request.mutable_reschedule_persistent_cache_peer_request();
    // As they came: Go schedulers validate them again.
    for (const auto& parent : offered_) *reschedule.add_candidate_parents() = parent;
    reschedule.set_description("not all persistent cache pieces are downloaded from parent");
    stream_->Write(std::move(request));
    co_return co_await Answer(deadline);
  }

  void Started() override {
    Request request = NewRequest();
    request.mutable_download_persistent_cache_peer_started_request();
    Send(std::move(request));
  }
  void PieceFinished(const storage::PieceRecord& record) override {
    Request request = NewRequest();
    SetPiece(record, request.mutable_download_piece_finished_request()->mutable_piece());
    if (stream_ != nullptr) stream_->WriteWithNext(std::move(request));
  }
  void PieceFailed(PieceNumber number, const std::string& parent_id) override {
    Request request = NewRequest();
    auto& failed = *request.mutable_download_piece_failed_request();
    failed.set_piece_number(number.value());
    failed.set_parent_id(parent_id);
    failed.set_temporary(true);
    Send(std::move(request));
  }
  asio::awaitable<absl::Status> Finished(uint32_t piece_count, TimePoint deadline) override {
    Request request = NewRequest();
    request.mutable_download_persistent_cache_peer_finished_request()->set_piece_count(piece_count);
    co_return co_await End(std::move(request), deadline);
  }
  asio::awaitable<absl::Status> Failed(std::string description, TimePoint deadline) override {
    Request request = NewRequest();
    request.mutable_download_persistent_cache_peer_failed_request()->set_description(std::move(description));
    co_return co_await End(std::move(request), deadline);
  }

 private:
  Request NewRequest() const {
    Request request;
    request.set_host_id(options_->host_id);
    request.set_task_id(task_.str());
    request.set_peer_id(peer_id_);
    return request;
  }
  void Send(Request request) {
    if (stream_ != nullptr) stream_->Write(std::move(request));
  }
  void Open(const std::string& address) {
    if (stream_ != nullptr) stream_->Cancel();
    address_ = address;
    stub_ = api::Scheduler::NewStub(schedulers_.ChannelTo(address));
    const auto start = [this](grpc::ClientContext* context, auto* reactor) {
      stub_->async()->AnnouncePersistentCachePeer(context, reactor);
    };
    stream_ = rpc::StartBidiStream<Request, Response>(start);
  }
  asio::awaitable<absl::StatusOr<std::vector<CandidateParent>>> Answer(TimePoint deadline) {
    auto response = co_await stream_->Read(deadline);
    if (!response.ok()) co_return Annotate(response.status(), StrCat("scheduler ", address_));
    if (!response->has_value()) {
      co_return absl::AbortedError(StrCat("scheduler ", address_, " ended the conversation"));
    }
    std::vector<CandidateParent> parents;
    offered_.clear();
    if ((*response)->has_empty_persistent_cache_task_response()) co_return parents;
    for (auto& peer : *(*response)->mutable_normal_persistent_cache_task_response()->mutable_candidate_parents()) {
      if (!Usable(peer)) continue;
      CandidateParent parent;
      parent.peer_id = peer.id();
      parent.host_id = peer.host().id();
      parent.ip = peer.host().ip();
      parent.port = peer.host().port();
      parent.content_length = peer.task().content_length();
      parent.piece_length = peer.task().piece_length();
      parents.push_back(std::move(parent));
      offered_.push_back(std::move(peer));
    }
    if (parents.empty()) co_return absl::InternalError(StrCat("scheduler ", address_, " offers no usable parent"));
    co_return parents;
  }
  asio::awaitable<absl::Status> End(Request last, TimePoint deadline) {
    if (stream_ == nullptr) co_return absl::FailedPreconditionError("not registered");
    stream_->Write(std::move(last));
    stream_->WritesDone();
    for (;;) {
      auto response = co_await stream_->Read(deadline);
      if (!response.ok()) co_return Annotate(response.status(), StrCat("scheduler ", address_));
      if (!response->has_value()) break;
    }
    stream_.reset();
    co_return absl::OkStatus();
  }

  const std::shared_ptr<const PersistentLink::Options> options_;
  SchedulerSet& schedulers_;
  const std::vector<std::string> candidates_;
  const TaskId task_;
  const std::string peer_id_;
  std::string address_;
  std::unique_ptr<Stub> stub_;
  std::shared_ptr<Stream> stream_;
  std::vector<common::v2::PersistentCachePeer> offered_;
};

}  // namespace

PersistentLink::PersistentLink(Options options, SchedulerSet& schedulers)
    : options_(std::make_shared<const Options>(std::move(options))), schedulers_(schedulers) {}

template <typename Answer, typename Question, typename Method>
asio::awaitable<absl::StatusOr<Answer>> PersistentLink::Call(TaskId task, Question request, Method method) {
  absl::StatusOr<Answer> last = NoScheduler();
  for (const std::string& address : schedulers_.OrderFor(task)) {
    last = co_await CallAt<Answer>(schedulers_, address, request, method, options_->call_timeout);
    if (!absl::IsUnavailable(last.status())) break;
  }
  co_return last;
}

asio::awaitable<absl::Status> PersistentLink::UploadStarted(TaskId task,
                                                            api::UploadPersistentCacheTaskStartedRequest request) {
  request.set_host_id(options_->host_id);
  const Async<api::UploadPersistentCacheTaskStartedRequest, Empty> method =
      &Stub::async::UploadPersistentCacheTaskStarted;
  absl::Status last = NoScheduler();
  for (const std::string& address : schedulers_.OrderFor(task)) {
    last = (co_await CallAt<Empty>(schedulers_, address, request, method, options_->call_timeout)).status();
    const bool stranger = absl::IsNotFound(last) && options_->announce != nullptr;
    if (stranger && (co_await options_->announce(address)).ok()) {
      last = (co_await CallAt<Empty>(schedulers_, address, request, method, options_->call_timeout)).status();
    }
    if (!absl::IsUnavailable(last)) break;
  }
  co_return last;
}

asio::awaitable<absl::StatusOr<common::v2::PersistentCacheTask>> PersistentLink::UploadFinished(TaskId task,
                                                                                                std::string peer_id) {
  api::UploadPersistentCacheTaskFinishedRequest request;
  request.set_host_id(options_->host_id);
  request.set_task_id(task.str());
  request.set_peer_id(std::move(peer_id));
  const Async<api::UploadPersistentCacheTaskFinishedRequest, common::v2::PersistentCacheTask> method =
      &Stub::async::UploadPersistentCacheTaskFinished;
  co_return co_await Call<common::v2::PersistentCacheTask>(std::move(task), std::move(request), method);
}

asio::awaitable<absl::Status> PersistentLink::UploadFailed(TaskId task, std::string peer_id, std::string description) {
  api::UploadPersistentCacheTaskFailedRequest request;
  request.set_host_id(options_->host_id);
  request.set_task_id(task.str());
  request.set_peer_id(std::move(peer_id));
  request.set_description(std::move(description));
  const Async<api::UploadPersistentCacheTaskFailedRequest, Empty> method =
      &Stub::async::UploadPersistentCacheTaskFailed;
  co_return (co_await Call<Empty>(std::move(task), std::move(request), method)).status();
}

asio::awaitable<absl::StatusOr<common::v2::PersistentCacheTask>> PersistentLink::Stat(TaskId task) {
  api::StatPersistentCacheTaskRequest request;
  request.set_host_id(options_->host_id);
  request.set_task_id(task.str());
  const Async<api::StatPersistentCacheTaskRequest, common::v2::PersistentCacheTask> method =
      &Stub::async::StatPersistentCacheTask;
  co_return co_await Call<common::v2::PersistentCacheTask>(std::move(task), std::move(request), method);
}

asio::awaitable<absl::StatusOr<common::v2::PersistentCachePeer>> PersistentLink::StatPeer(TaskId task,
                                                                                          std::string peer_id) {
  api::StatPersistentCachePeerRequest request;
  request.set_host_id(options_->host_id);
  request.set_task_id(task.str());
  request.set_peer_id(std::move(peer_id));
  const Async<api::StatPersistentCachePeerRequest, common::v2::PersistentCachePeer> method =
      &Stub::async::StatPersistentCachePeer;
  co_return co_await Call<common::v2::PersistentCachePeer>(std::move(task), std::move(request), method);
}

asio::awaitable<absl::Status> PersistentLink::DeleteTask(TaskId task) {
  api::DeletePersistentCacheTaskRequest request;
  request.set_host_id(options_->host_id);
  request.set_task_id(task.str());
  const Async<api::DeletePersistentCacheTaskRequest, Empty> method = &Stub::async::DeletePersistentCacheTask;
  co_return (co_await Call<Empty>(std::move(task), std::move(request), method)).status();
}

asio::awaitable<absl::Status> PersistentLink::DeletePeer(TaskId task, std::string peer_id) {
  api::DeletePersistentCachePeerRequest request;
  request.set_host_id(options_->host_id);
  request.set_task_id(task.str());
  request.set_peer_id(std::move(peer_id));
  const Async<api::DeletePersistentCachePeerRequest, Empty> method = &Stub::async::DeletePersistentCachePeer;
  co_return (co_await Call<Empty>(std::move(task), std::move(request), method)).status();
}

asio::awaitable<bool> PersistentLink::UnknownEverywhere(TaskId task) {
  const auto checks = schedulers_.checks();
  if (checks.empty()) co_return false;
  api::StatPersistentCacheTaskRequest request;
  request.set_host_id(options_->host_id);
  request.set_task_id(task.str());
  const Async<api::StatPersistentCacheTaskRequest, common::v2::PersistentCacheTask> method =
      &Stub::async::StatPersistentCacheTask;
  for (const auto& [address, serves] : checks) {
    if (!serves.ok()) co_return false;
    const auto answer =
        co_await CallAt<common::v2::PersistentCacheTask>(schedulers_, address, request, method, options_->call_timeout);
    if (!absl::IsNotFound(answer.status())) co_return false;
  }
  co_return true;
}

std::unique_ptr<PersistentSession> PersistentLink::Open(TaskId task, std::string peer_id) {
  std::vector<std::string> candidates = schedulers_.OrderFor(task);
  return std::make_unique<GrpcPersistentSession>(options_, schedulers_, std::move(candidates), std::move(task),
                                                 std::move(peer_id));
}

}  // namespace dragonfly::daemon
