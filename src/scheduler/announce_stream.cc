// SPDX-License-Identifier: Apache-2.0
#include "scheduler/announce_stream.h"

#include <utility>
#include <vector>

#include "base/status.h"
#include "base/text.h"
#include "rpc/more_parents.h"
#include "scheduler/validation.h"
#include "scheduler/wire.h"
#include "telemetry/log.h"

namespace dragonfly::scheduler {
namespace {

namespace api = ::scheduler::v2;
using Message = api::AnnouncePeerRequest;

Traffic TrafficOf(Origin origin, const common::v2::Piece& piece) {
  if (origin == Origin::kSource) return Traffic::kBackToSource;
  return piece.has_traffic_type() && piece.traffic_type() == common::v2::LOCAL_PEER ? Traffic::kLocalPeer
                                                                                    : Traffic::kRemotePeer;
}

}  // namespace

AnnounceStream::AnnounceStream(ShardRunner& runner, Probe& probe, const ClusterConfigs& cluster,
                               std::shared_ptr<Session> session, telemetry::SpanContext trace, absl::Status admitted)
    : runner_(runner),
      probe_(probe),
      cluster_(cluster),
      session_(std::move(session)),
      trace_(std::move(trace)),
      admitted_(std::move(admitted)) {
  probe_.StreamOpened();
}

AnnounceStream::~AnnounceStream() {
  probe_.StreamClosed();
  probe_.Count(Call::kAnnouncePeer, outcome_);
}

void AnnounceStream::OnMessage(Message request) {
  absl::Status status = admitted_;
  if (status.ok()) status = Validate(request);
  if (status.ok() && task_id_.empty()) {
    host_id_ = request.host_id();
    task_id_ = request.task_id();
    peer_id_ = request.peer_id();
  }
  // The stream belongs to the shard of its first message.
  if (status.ok() &&
      (request.task_id() != task_id_ || request.peer_id() != peer_id_ || request.host_id() != host_id_)) {
    status = absl::InvalidArgumentError("one stream is for one host, task and peer");
  }
  if (!status.ok()) {
    Finish(status);
    OnEnd(/*half_closed=*/false);
    return;
  }
  const absl::StatusOr<After> after =
      runner_.Do([&](Shard& shard, TimePoint now) { return Handle(std::move(request), shard, now); });
  if (!after.ok()) {
    DF_LOG(Debug, "peer {} of task {}: {}", peer_id_, task_id_, after.status().ToString());
    Finish(after.status());
  } else if (*after == After::kEnds) {
    Finish(absl::OkStatus());
  }
}

void AnnounceStream::OnEnd(bool half_closed) {
  if (!half_closed && outcome_.ok()) outcome_ = absl::CancelledError("the stream has broken");
  if (!task_id_.empty()) {
    runner_.Do([&](Shard& shard, TimePoint now) { shard.StreamEnded(address(), this, now); });
  }
  session_->Finish(half_closed ? absl::OkStatus() : outcome_);
}

absl::StatusOr<AnnounceStream::After> AnnounceStream::Handle(Message request, Shard& shard, TimePoint now) {
  switch (request.request_case()) {
    case Message::kRegisterPeerRequest:
      DF_RETURN_IF_ERROR(Register(std::move(request), shard, now));
      return After::kGoesOn;
    case Message::kDownloadPeerStartedRequest: {
      const absl::Status status = shard.Started(address(), now);
      Count(Step::kStarted, shard, status);
      DF_RETURN_IF_ERROR(status);
      return After::kGoesOn;
    }
    case Message::kDownloadPeerBackToSourceStartedRequest: {
      const absl::Status status = shard.BackToSourceStarted(address(), now);
      Count(Step::kBackToSourceStarted, shard, status);
      DF_RETURN_IF_ERROR(status);
      return After::kGoesOn;
    }
    case Message::kReschedulePeerRequest:
      DF_RETURN_IF_ERROR(Reschedule(request.reschedule_peer_request(), shard, now));
      return After::kGoesOn;
    case Message::kDownloadPeerFinishedRequest: {
      const auto& finished = request.download_peer_finished_request();
      DF_RETURN_IF_ERROR(Finished(Origin::kPeers, finished.content_length(), finished.piece_count(), shard, now));
      return After::kEnds;
    }
    case Message::kDownloadPeerBackToSourceFinishedRequest: {
      const auto& finished = request.download_peer_back_to_source_finished_request();
      DF_RETURN_IF_ERROR(Finished(Origin::kSource, finished.content_length(), finished.piece_count(), shard, now));
      return After::kEnds;
    }
    case Message::kDownloadPeerFailedRequest:
      Count(Step::kFinished, shard, absl::UnknownError("download failed"));
      DF_RETURN_IF_ERROR(shard.Failed(address(), Origin::kPeers, now));
      return After::kEnds;
    case Message::kDownloadPeerBackToSourceFailedRequest:
      Count(Step::kBackToSourceFinished, shard, absl::UnknownError("download failed"));
      DF_RETURN_IF_ERROR(shard.Failed(address(), Origin::kSource, now));
      return After::kEnds;
    case Message::kDownloadPieceFinishedRequest:
      PieceFinished(Origin::kPeers, request.download_piece_finished_request().piece(), shard, now);
      return After::kGoesOn;
    case Message::kDownloadPieceBackToSourceFinishedRequest:
      PieceFinished(Origin::kSource, request.download_piece_back_to_source_finished_request().piece(), shard, now);
      return After::kGoesOn;
    case Message::kDownloadPieceFailedRequest:
      PieceFailed(request.download_piece_failed_request(), shard, now);
      return After::kGoesOn;
    case Message::kDownloadPieceBackToSourceFailedRequest:
      PieceFromSourceFailed(shard, now);
      return After::kGoesOn;
    case Message::REQUEST_NOT_SET:
      break;
  }
  return absl::FailedPreconditionError("receive unknow request");
}

absl::Status AnnounceStream::Register(Message request, Shard& shard, TimePoint now) {
  const bool takes_more_parents = rpc::TakesMoreParents(request.register_peer_request());
  auto download =
      std::make_shared<common::v2::Download>(std::move(*request.mutable_register_peer_request()->mutable_download()));
  Registration registration = ToRegistration(std::move(download));
  registration.stream = shared_from_this();
  registration.takes_more_parents = takes_more_parents;
  if (registration.priority == common::v2::LEVEL0 && !registration.about.application.empty()) {
    registration.priority = cluster_.current()->priorities->Of(registration.about.application, registration.about.url);
  }
  const int32_t priority = registration.priority;
  const TaskType type = registration.about.type;
  asked_at_ = now;
  const absl::Status status = shard.Register(address(), std::move(registration), now);
  const Peer* const peer = shard.FindPeer(task_id_, peer_id_);
  probe_.Count(Step::kRegister, priority, type, peer == nullptr ? 0 : peer->host_facts().type, status);
  return status;
}

absl::Status AnnounceStream::Reschedule(const api::ReschedulePeerRequest& request, Shard& shard, TimePoint now) {
  std::vector<std::string> tried;
  tried.reserve(static_cast<size_t>(request.candidate_parents_size()));
  for (const common::v2::Peer& parent : request.candidate_parents()) tried.push_back(parent.id());
  asked_at_ = now;
  return shard.Reschedule(address(), tried, now);
}

absl::Status AnnounceStream::Finished(Origin origin, uint64_t content_length, uint64_t piece_count, Shard& shard,
                                      TimePoint now) {
  const absl::Status status = shard.Finished(address(), origin, ToLength(content_length).value_or(0), piece_count, now);
  Count(origin == Origin::kPeers ? Step::kFinished : Step::kBackToSourceFinished, shard, status);
  const Peer* const peer = shard.FindPeer(task_id_, peer_id_);
  if (status.ok() && peer != nullptr) probe_.Downloaded(peer->task().content_length().value_or(0), peer->cost);
  return status;
}

void AnnounceStream::PieceFinished(Origin origin, const common::v2::Piece& piece, Shard& shard, TimePoint now) {
  const PieceReport report = ToPieceReport(piece);
  const absl::StatusOr<PieceParties> about = shard.PieceFinished(address(), origin, report, now);
  const Traffic traffic = TrafficOf(origin, piece);
  if (!about.ok()) {
    DF_LOG(Debug, "peer {} of task {}: {}", peer_id_, task_id_, about.status().ToString());
    const Peer* const peer = shard.FindPeer(task_id_, peer_id_);
    if (peer != nullptr) probe_.CountPieceFailure(traffic, peer->task().about().type, peer->host_facts());
    return;
  }
  probe_.CountPiece(traffic, about->peer->task().about().type, about->peer->host_facts(),
                    about->parent == nullptr ? nullptr : &about->parent->host_facts(), report.length);
}

void AnnounceStream::PieceFailed(const api::DownloadPieceFailedRequest& request, Shard& shard, TimePoint now) {
  const absl::Status status = shard.PieceFailed(address(), request.parent_id(), request.temporary(), now);
  if (!status.ok()) DF_LOG(Debug, "peer {} of task {}: {}", peer_id_, task_id_, status.ToString());
  const Peer* const peer = shard.FindPeer(task_id_, peer_id_);
  if (peer != nullptr) probe_.CountPieceFailure(Traffic::kRemotePeer, peer->task().about().type, peer->host_facts());
}

void AnnounceStream::PieceFromSourceFailed(Shard& shard, TimePoint now) {
  const absl::Status status = shard.PieceFromSourceFailed(address(), now);
  DF_LOG(Debug, "peer {} of task {}: {}", peer_id_, task_id_, status.ToString());
  const Peer* const peer = shard.FindPeer(task_id_, peer_id_);
  if (peer != nullptr) probe_.CountPieceFailure(Traffic::kBackToSource, peer->task().about().type, peer->host_facts());
}

void AnnounceStream::Count(Step step, const Shard& shard, const absl::Status& result) {
  const Peer* const peer = shard.FindPeer(task_id_, peer_id_);
  if (peer == nullptr) return;
  probe_.Count(step, peer->priority, peer->task().about().type, peer->host_facts().type, result);
}

void AnnounceStream::Answered() {
  if (!asked_at_.has_value()) return;
  probe_.Scheduled(Clock::now() - *asked_at_);
  asked_at_.reset();
}

void AnnounceStream::SendEmpty() {
  api::AnnouncePeerResponse response;
  response.mutable_empty_task_response();
  session_->Write(std::move(response));
  Answered();
}

void AnnounceStream::SendParents(const Peer&, std::span<Peer* const> parents) {
  session_->Write(ToResponse(parents));
  Answered();
}

void AnnounceStream::SendMoreParents(const Peer&, std::span<Peer* const> parents) {
  api::AnnouncePeerResponse response = ToResponse(parents);
  rpc::SetMore(*response.mutable_normal_task_response());
  session_->Write(std::move(response));
}

void AnnounceStream::SendBackToSource(std::string_view description) {
  api::AnnouncePeerResponse response;
  response.mutable_need_back_to_source_response()->set_description(std::string(description));
  session_->Write(std::move(response));
  Answered();
}

void AnnounceStream::SendMetadataOnly() {
  api::AnnouncePeerResponse response;
  response.mutable_metadata_only_response();
  session_->Write(std::move(response));
  Answered();
}

void AnnounceStream::Finish(absl::Status status) {
  outcome_ = status;
  session_->Finish(std::move(status));
}

}  // namespace dragonfly::scheduler
