// SPDX-License-Identifier: Apache-2.0
// One AnnouncePeer stream: messages in, answers out. Only .cc files include this.
#pragma once

#include <memory>
#include <optional>
#include <string>

#include "rpc/bidi_session.h"
#include "runtime/clock.h"
#include "scheduler/cluster_config.h"
#include "scheduler/probe.h"
#include "scheduler/shard_runner.h"
#include "scheduler/v2/scheduler.pb.h"

namespace dragonfly::scheduler {

// Thread rule: on the thread of the runner. Held by its session until the call is over, and by the peer that it
// registers until that peer has ended.
class AnnounceStream final : public PeerStream, public std::enable_shared_from_this<AnnounceStream> {
 public:
  using Session = rpc::BidiSession<::scheduler::v2::AnnouncePeerRequest, ::scheduler::v2::AnnouncePeerResponse>;

  // `runner`, `probe` and `cluster` must outlive the stream. `trace` is the span of the call. `admitted` ends the
  // stream when it is an error.
  AnnounceStream(ShardRunner& runner, Probe& probe, const ClusterConfigs& cluster, std::shared_ptr<Session> session,
                 telemetry::SpanContext trace, absl::Status admitted);
  ~AnnounceStream() override;

  void OnMessage(::scheduler::v2::AnnouncePeerRequest request);
  void OnEnd(bool half_closed);

  void SendEmpty() override;
  void SendParents(const Peer& child, std::span<Peer* const> parents) override;
  void SendMoreParents(const Peer& child, std::span<Peer* const> parents) override;
  void SendBackToSource(std::string_view description) override;
  void SendMetadataOnly() override;
  telemetry::SpanContext trace() const override { return trace_; }
  void Finish(absl::Status status) override;

 private:
  enum class After { kGoesOn, kEnds };

  PeerAddress address() const { return {host_id_, task_id_, peer_id_}; }
  // What the message does to the shard, and whether it is the last one.
  absl::StatusOr<After> Handle(::scheduler::v2::AnnouncePeerRequest request, Shard& shard, TimePoint now);
  absl::Status Register(::scheduler::v2::AnnouncePeerRequest request, Shard& shard, TimePoint now);
  absl::Status Reschedule(const ::scheduler::v2::ReschedulePeerRequest& request, Shard& shard, TimePoint now);
  absl::Status Finished(Origin origin, uint64_t content_length, uint64_t piece_count, Shard& shard, TimePoint now);
  void PieceFinished(Origin origin, const common::v2::Piece& piece, Shard& shard, TimePoint now);
  void PieceFailed(const ::scheduler::v2::DownloadPieceFailedRequest& request, Shard& shard, TimePoint now);
  void PieceFromSourceFailed(Shard& shard, TimePoint now);
  void Count(Step step, const Shard& shard, const absl::Status& result);
  void Answered();

  ShardRunner& runner_;
  Probe& probe_;
  const ClusterConfigs& cluster_;
  const std::shared_ptr<Session> session_;
  const telemetry::SpanContext trace_;
  const absl::Status admitted_;
  std::string host_id_, task_id_, peer_id_;
  std::optional<TimePoint> asked_at_;  // while an answer is owed
  absl::Status outcome_;               // what the stream ended with
};

}  // namespace dragonfly::scheduler
