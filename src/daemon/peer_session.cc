// SPDX-License-Identifier: Apache-2.0
#include "daemon/peer_session.h"

#include <grpcpp/channel.h>

#include <algorithm>
#include <utility>

#include "absl/time/time.h"
#include "base/backend_error.h"
#include "base/digest.h"
#include "base/host_port.h"
#include "base/status.h"
#include "base/text.h"
#include "common/v2/common.pb.h"
#include "daemon/piece_message.h"
#include "rpc/client_call.h"
#include "rpc/more_parents.h"
#include "rpc/trace_metadata.h"
#include "scheduler/v2/scheduler.grpc.pb.h"
#include "telemetry/log.h"

namespace dragonfly::daemon {
namespace asio = boost::asio;
namespace {

using scheduler::v2::AnnouncePeerRequest;
using scheduler::v2::AnnouncePeerResponse;
using Stream = rpc::BidiStream<AnnouncePeerRequest, AnnouncePeerResponse>;

// What a Go scheduler sends for a length that it does not know: -1 as an unsigned number.
constexpr uint64_t kUnknownLength = UINT64_MAX;

// Reports of pieces are sent at once when the last were sent so long ago; else together.
constexpr Clock::duration kPieceReportPause = std::chrono::milliseconds(50);

// A parent that cannot be dialled is worth nothing, whatever the scheduler says.
bool Usable(const common::v2::Peer& peer) {
  return CheckNameId(peer.id(), "id").ok() && CheckNameId(peer.host().id(), "host.id").ok() &&
         IsIpLiteral(peer.host().ip()) && peer.host().port() > 0 && peer.host().port() <= 65535;
}

CandidateParent ToCandidate(common::v2::Peer&& peer) {
  CandidateParent parent;
  parent.peer_id = peer.id();
  parent.host_id = peer.host().id();
  parent.ip = peer.host().ip();
  parent.port = peer.host().port();
  // A scheduler that was never told a length says 0 or -1; a file known to be empty has no parents.
  const uint64_t length = peer.task().content_length();
  if (length != 0 && length != kUnknownLength) parent.content_length = length;
  parent.wire = std::make_shared<const common::v2::Peer>(std::move(peer));
  return parent;
}

// A scheduler that gave no answer to a registration, so that another may be asked.
bool IsUnreachable(const absl::Status& status) {
  return absl::IsUnavailable(status) || absl::IsDeadlineExceeded(status);
}

class GrpcPeerSession final : public PeerSession {
 public:
  GrpcPeerSession(std::shared_ptr<const GrpcSchedulerLinkOptions> options, SchedulerSet& schedulers,
                  std::vector<std::string> candidates, TaskId task, std::string peer_id)
      : options_(std::move(options)),
        schedulers_(schedulers),
        candidates_(std::move(candidates)),
        task_(std::move(task)),
        peer_id_(std::move(peer_id)) {}

  ~GrpcPeerSession() override {
    if (stream_ != nullptr) stream_->Cancel();
  }

  asio::awaitable<absl::StatusOr<ScheduleAnswer>> Register(const common::v2::Download& download, TaskFacts facts,
                                                           TimePoint deadline) override;
  asio::awaitable<absl::StatusOr<ScheduleAnswer>> Reschedule(std::vector<CandidateParent> tried,
                                                             std::string description, TimePoint deadline) override;
  asio::awaitable<absl::StatusOr<std::vector<CandidateParent>>> MoreParents() override;
  std::string scheduler() const override { return address_; }
  void Started() override;
  void BackToSourceStarted() override;
  void PieceFinished(const storage::PieceRecord& record) override;
  void PieceFailed(PieceNumber number, const std::string& parent_id) override;
  void PieceBackToSourceFailed(const absl::Status& error) override;
  asio::awaitable<void> Finished(TaskFacts facts, TimePoint deadline) override;
  asio::awaitable<void> BackToSourceFinished(TaskFacts facts, TimePoint deadline) override;
  asio::awaitable<void> Failed(std::string description, TimePoint deadline) override;
  asio::awaitable<void> BackToSourceFailed(std::string description, TimePoint deadline) override;

 private:
  AnnouncePeerRequest NewRequest() const;
  void Send(AnnouncePeerRequest request);
  void Open(const std::string& address);
  asio::awaitable<absl::StatusOr<ScheduleAnswer>> RegisterAt(std::string address, AnnouncePeerRequest registration,
                                                             TimePoint deadline);
  asio::awaitable<absl::StatusOr<AnnouncePeerResponse>> Receive(TimePoint deadline);
  asio::awaitable<absl::StatusOr<ScheduleAnswer>> Answer(TimePoint deadline);
  std::vector<CandidateParent> UsableParents(scheduler::v2::NormalTaskResponse response) const;
  absl::StatusOr<ScheduleAnswer> Interpret(AnnouncePeerResponse response) const;
  asio::awaitable<void> End(AnnouncePeerRequest last, TimePoint deadline);

  const std::shared_ptr<const GrpcSchedulerLinkOptions> options_;
  SchedulerSet& schedulers_;
  const std::vector<std::string> candidates_;
  const TaskId task_;
  const std::string peer_id_;
  std::string address_;  // of the scheduler in use
  std::unique_ptr<scheduler::v2::Scheduler::Stub> stub_;
  std::shared_ptr<Stream> stream_;
  telemetry::SpanContext trace_;
  bool metadata_only_ = false;
  TimePoint pieces_sent_at_;  // when reports of pieces were last sent at once
};

AnnouncePeerRequest GrpcPeerSession::NewRequest() const {
  AnnouncePeerRequest request;
  request.set_host_id(options_->host_id);
  request.set_task_id(task_.str());
  request.set_peer_id(peer_id_);
  return request;
}

void GrpcPeerSession::Send(AnnouncePeerRequest request) {
  if (stream_ != nullptr) stream_->Write(std::move(request));
}

void GrpcPeerSession::Open(const std::string& address) {
  if (stream_ != nullptr) stream_->Cancel();
  address_ = address;
  stub_ = scheduler::v2::Scheduler::NewStub(schedulers_.ChannelTo(address));
  const auto start = [this](grpc::ClientContext* context, auto* reactor) {
    rpc::SendTrace(trace_, context);
    stub_->async()->AnnouncePeer(context, reactor);
  };
  stream_ = rpc::StartBidiStream<AnnouncePeerRequest, AnnouncePeerResponse>(start);
}

absl::StatusOr<ScheduleAnswer> GrpcPeerSession::Interpret(AnnouncePeerResponse response) const {
  // Schedulers before API 2.2.32 answer a metadata-only registration as any other: it has been understood all the same.
  if (metadata_only_ && response.response_case() != AnnouncePeerResponse::RESPONSE_NOT_SET) return EmptyTask();
  switch (response.response_case()) {
    case AnnouncePeerResponse::kEmptyTaskResponse:
    case AnnouncePeerResponse::kMetadataOnlyResponse:
      return EmptyTask();
    case AnnouncePeerResponse::kNeedBackToSourceResponse:
      return NeedBackToSource{std::move(*response.mutable_need_back_to_source_response()->mutable_description())};
    case AnnouncePeerResponse::kNormalTaskResponse: {
      CandidateParents parents{UsableParents(std::move(*response.mutable_normal_task_response()))};
      if (parents.parents.empty()) {
        return absl::InternalError(StrCat("scheduler ", address_, " offers no usable parent"));
      }
      return parents;
    }
    case AnnouncePeerResponse::RESPONSE_NOT_SET:
      break;
  }
  return absl::InternalError(StrCat("unexpected response of scheduler ", address_));
}

std::vector<CandidateParent> GrpcPeerSession::UsableParents(scheduler::v2::NormalTaskResponse response) const {
  std::vector<CandidateParent> parents;
  for (common::v2::Peer& peer : *response.mutable_candidate_parents()) {
    if (Usable(peer)) {
      parents.push_back(ToCandidate(std::move(peer)));
    } else {
      DF_LOG(Warn, "task {}: scheduler {} offers a parent without a usable id or address", task_.str(), address_);
    }
  }
  return parents;
}

asio::awaitable<absl::StatusOr<AnnouncePeerResponse>> GrpcPeerSession::Receive(TimePoint deadline) {
  auto response = co_await stream_->Read(deadline);
  if (!response.ok()) co_return Annotate(response.status(), StrCat("scheduler ", address_));
  if (!response->has_value()) {
    co_return absl::AbortedError(StrCat("scheduler ", address_, " ended the conversation"));
  }
  co_return **std::move(response);
}

asio::awaitable<absl::StatusOr<ScheduleAnswer>> GrpcPeerSession::Answer(TimePoint deadline) {
  for (;;) {
    DF_CO_ASSIGN_OR_RETURN(AnnouncePeerResponse response, co_await Receive(deadline));
    // What was given before the question is void with it: the scheduler has taken these parents back.
    if (response.has_normal_task_response() && rpc::IsMore(response.normal_task_response())) continue;
    co_return Interpret(std::move(response));
  }
}

asio::awaitable<absl::StatusOr<std::vector<CandidateParent>>> GrpcPeerSession::MoreParents() {
  while (stream_ != nullptr) {
    DF_CO_ASSIGN_OR_RETURN(AnnouncePeerResponse response, co_await Receive(kNoDeadline));
    if (!response.has_normal_task_response() || !rpc::IsMore(response.normal_task_response())) continue;
    std::vector<CandidateParent> parents = UsableParents(std::move(*response.mutable_normal_task_response()));
    if (!parents.empty()) co_return parents;
  }
  co_return absl::FailedPreconditionError("not registered");
}

asio::awaitable<absl::StatusOr<ScheduleAnswer>> GrpcPeerSession::RegisterAt(std::string address,
                                                                            AnnouncePeerRequest registration,
                                                                            TimePoint deadline) {
  for (bool announced = false;; announced = true) {
    Open(address);
    Send(registration);
    const TimePoint answer_by = std::min(deadline, Clock::now() + options_->first_answer_timeout);
    auto answer = co_await Answer(answer_by);
    // A scheduler that was restarted has forgotten this host; it is told again and asked once more.
    if (!absl::IsNotFound(answer.status()) || announced || options_->announce == nullptr) co_return answer;
    const absl::Status known = co_await options_->announce(address);
    if (!known.ok()) co_return answer;
  }
}

asio::awaitable<absl::StatusOr<ScheduleAnswer>> GrpcPeerSession::Register(const common::v2::Download& download,
                                                                          TaskFacts facts, TimePoint deadline) {
  trace_ = facts.trace;
  AnnouncePeerRequest registration = NewRequest();
  rpc::SetTakesMoreParents(*registration.mutable_register_peer_request());
  common::v2::Download& wanted = *registration.mutable_register_peer_request()->mutable_download();
  wanted = download;
  metadata_only_ = wanted.metadata_only();
  // API 2.2.32 reads the facts here, API 2.1.40 in the terminal report.
  if (facts.content_length) {
    wanted.set_actual_content_length(*facts.content_length);
    wanted.set_actual_piece_count(facts.piece_count);
  }
  if (facts.piece_length) wanted.set_actual_piece_length(*facts.piece_length);

  absl::Status first_error;
  for (const std::string& address : candidates_) {
    auto answer = co_await RegisterAt(address, registration, deadline);
    if (!IsUnreachable(answer.status())) co_return answer;
    DF_LOG(Warn, "task {}: register with scheduler {}: {}", task_.str(), address, MessageOf(answer.status()));
    schedulers_.Suspect(address);
    if (first_error.ok()) first_error = answer.status();
    if (Clock::now() >= deadline) break;
  }
  stream_.reset();
  co_return first_error;
}

asio::awaitable<absl::StatusOr<ScheduleAnswer>> GrpcPeerSession::Reschedule(std::vector<CandidateParent> tried,
                                                                            std::string description,
                                                                            TimePoint deadline) {
  if (stream_ == nullptr) co_return absl::FailedPreconditionError("not registered");
  AnnouncePeerRequest request = NewRequest();
  auto& reschedule = *request.mutable_reschedule_peer_request();
  for (const CandidateParent& parent : tried) {
    // Go schedulers validate what comes back, so it goes back as it came.
    if (parent.wire != nullptr) *reschedule.add_candidate_parents() = *parent.wire;
  }
  reschedule.set_description(std::move(description));
  Send(std::move(request));
  auto answer = co_await Answer(deadline);
  if (absl::IsUnavailable(answer.status())) schedulers_.Suspect(address_);
  co_return answer;
}

void GrpcPeerSession::Started() {
  AnnouncePeerRequest request = NewRequest();
  request.mutable_download_peer_started_request();
  Send(std::move(request));
}

void GrpcPeerSession::BackToSourceStarted() {
  AnnouncePeerRequest request = NewRequest();
  request.mutable_download_peer_back_to_source_started_request();
  Send(std::move(request));
}

void GrpcPeerSession::PieceFinished(const storage::PieceRecord& record) {
  AnnouncePeerRequest request = NewRequest();
  if (record.traffic_type == storage::TrafficType::kBackToSource) {
    SetPiece(record, request.mutable_download_piece_back_to_source_finished_request()->mutable_piece());
  } else {
    SetPiece(record, request.mutable_download_piece_finished_request()->mutable_piece());
  }
  if (stream_ == nullptr) return;
  // Nobody acts on a single piece: of many, a few packets a second are enough. What stays behind goes with the next
  // report of whatever kind.
  const TimePoint now = Clock::now();
  if (now - pieces_sent_at_ < kPieceReportPause) {
    stream_->WriteWithNext(std::move(request));
    return;
  }
  pieces_sent_at_ = now;
  stream_->Write(std::move(request));
}

void GrpcPeerSession::PieceFailed(PieceNumber number, const std::string& parent_id) {
  AnnouncePeerRequest request = NewRequest();
  auto& failed = *request.mutable_download_piece_failed_request();
  failed.set_piece_number(number.value());
  failed.set_parent_id(parent_id);
  failed.set_temporary(true);
  Send(std::move(request));
}

void GrpcPeerSession::PieceBackToSourceFailed(const absl::Status& error) {
  AnnouncePeerRequest request = NewRequest();
  auto& failed = *request.mutable_download_piece_back_to_source_failed_request();
  if (const auto backend = GetBackendError(error)) {
    failed.mutable_backend()->set_message(backend->message);
    for (const auto& [name, value] : backend->header) (*failed.mutable_backend()->mutable_header())[name] = value;
    if (backend->status_code) failed.mutable_backend()->set_status_code(*backend->status_code);
  } else {
    failed.mutable_unknown()->set_message(std::string(MessageOf(error)));
  }
  Send(std::move(request));
}

asio::awaitable<void> GrpcPeerSession::End(AnnouncePeerRequest last, TimePoint deadline) {
  if (stream_ == nullptr) co_return;
  stream_->Write(std::move(last));
  stream_->WritesDone();
  for (;;) {
    auto response = co_await stream_->Read(deadline);
    if (!response.ok()) {
      DF_LOG(Warn, "task {}: end of the conversation with scheduler {}: {}", task_.str(), address_,
             MessageOf(response.status()));
      if (absl::IsUnavailable(response.status())) schedulers_.Suspect(address_);
      break;
    }
    if (!response->has_value()) break;
    // An answer that crossed the terminal report is late news.
  }
  stream_.reset();
}

asio::awaitable<void> GrpcPeerSession::Finished(TaskFacts facts, TimePoint deadline) {
  AnnouncePeerRequest request = NewRequest();
  auto& finished = *request.mutable_download_peer_finished_request();
  finished.set_content_length(facts.content_length.value_or(0));
  finished.set_piece_count(facts.piece_count);
  co_await End(std::move(request), deadline);
}

asio::awaitable<void> GrpcPeerSession::BackToSourceFinished(TaskFacts facts, TimePoint deadline) {
  AnnouncePeerRequest request = NewRequest();
  auto& finished = *request.mutable_download_peer_back_to_source_finished_request();
  finished.set_content_length(facts.content_length.value_or(0));
  finished.set_piece_count(facts.piece_count);
  co_await End(std::move(request), deadline);
}

asio::awaitable<void> GrpcPeerSession::Failed(std::string description, TimePoint deadline) {
  AnnouncePeerRequest request = NewRequest();
  request.mutable_download_peer_failed_request()->set_description(std::move(description));
  co_await End(std::move(request), deadline);
}

asio::awaitable<void> GrpcPeerSession::BackToSourceFailed(std::string description, TimePoint deadline) {
  AnnouncePeerRequest request = NewRequest();
  request.mutable_download_peer_back_to_source_failed_request()->set_description(std::move(description));
  co_await End(std::move(request), deadline);
}

}  // namespace

std::unique_ptr<PeerSession> MakeGrpcPeerSession(std::shared_ptr<const GrpcSchedulerLinkOptions> options,
                                                 SchedulerSet& schedulers, std::vector<std::string> candidates,
                                                 TaskId task, std::string peer_id) {
  return std::make_unique<GrpcPeerSession>(std::move(options), schedulers, std::move(candidates), std::move(task),
                                           std::move(peer_id));
}

}  // namespace dragonfly::daemon
