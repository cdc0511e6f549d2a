// SPDX-License-Identifier: Apache-2.0
#include "scheduler/persistent_message.h"

#include <google/protobuf/util/time_util.h>

#include "base/ids.h"
#include "base/piece.h"
#include "base/status.h"
#include "base/text.h"

namespace dragonfly::scheduler {
namespace {

namespace api = ::scheduler::v2;

constexpr uint64_t kReplicasMax = 5;  // of the API

google::protobuf::Timestamp ToTimestamp(absl::Time time) {
  return google::protobuf::util::TimeUtil::NanosecondsToTimestamp(absl::ToUnixNanos(time));
}
google::protobuf::Duration ToDuration(absl::Duration duration) {
  return google::protobuf::util::TimeUtil::NanosecondsToDuration(absl::ToInt64Nanoseconds(duration));
}

absl::Status Invalid(std::string_view message, std::string_view field, std::string_view reason) {
  return absl::InvalidArgumentError(StrCat("invalid ", message, ".", field, ": ", reason));
}

}  // namespace

absl::Status CheckId(std::string_view message, std::string_view field, const std::string& id) {
  if (id.empty()) return Invalid(message, field, "value length must be at least 1 runes");
  if (id.size() > kNameIdLengthMax) {
    return Invalid(message, field, StrCat("value length must be at most ", kNameIdLengthMax, " bytes"));
  }
  return absl::OkStatus();
}

absl::Status CheckUpload(const api::UploadPersistentCacheTaskStartedRequest& request) {
  constexpr std::string_view kName = "UploadPersistentCacheTaskStartedRequest";
  DF_RETURN_IF_ERROR(CheckId(kName, "HostId", request.host_id()));
  DF_RETURN_IF_ERROR(CheckId(kName, "TaskId", request.task_id()));
  DF_RETURN_IF_ERROR(CheckId(kName, "PeerId", request.peer_id()));
  if (request.persistent_replica_count() < 1 || request.persistent_replica_count() > kReplicasMax) {
    return Invalid(kName, "PersistentReplicaCount", StrCat("value must be inside range [1, ", kReplicasMax, "]"));
  }
  if (request.piece_length() < kPieceLengthMin) {
    return Invalid(kName, "PieceLength", "value must be greater than or equal to 4194304");
  }
  const auto layout = PieceLayout::Make(request.content_length(), request.piece_length());
  if (!layout.ok() || layout->piece_count() != request.piece_count()) {
    return Invalid(kName, "PieceCount", "value does not follow from the lengths");
  }
  const int64_t seconds = request.ttl().seconds();
  if (seconds < 300 || seconds > 604800) return Invalid(kName, "Ttl", "value must be inside range [5m0s, 168h0m0s]");
  return absl::OkStatus();
}

void Fill(const PersistentTask& task, common::v2::PersistentCacheTask* out) {
  out->set_id(task.id);
  out->set_persistent_replica_count(task.persistent_replica_count);
  out->set_tag(task.tag);
  out->set_application(task.application);
  out->set_piece_length(task.piece_length);
  out->set_content_length(task.content_length);
  out->set_piece_count(task.piece_count);
  out->set_state(std::string(TextOf(task.state)));
  *out->mutable_ttl() = ToDuration(task.ttl);
  *out->mutable_created_at() = ToTimestamp(task.created_at);
  *out->mutable_updated_at() = ToTimestamp(task.updated_at);
}

void Fill(const PersistentPeer& peer, common::v2::PersistentCachePeer* out) {
  out->set_id(peer.id);
  out->set_persistent(peer.persistent);
  *out->mutable_cost() = ToDuration(peer.cost);
  out->set_state(std::string(TextOf(peer.state)));
  *out->mutable_created_at() = ToTimestamp(peer.created_at);
  *out->mutable_updated_at() = ToTimestamp(peer.updated_at);
}

}  // namespace dragonfly::scheduler
