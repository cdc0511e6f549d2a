// SPDX-License-Identifier: Apache-2.0
#include "daemon/piece_message.h"

#include <algorithm>

#include "base/digest.h"

namespace dragonfly::daemon {

void SetDuration(absl::Duration duration, google::protobuf::Duration* out) {
  duration = std::max(duration, absl::ZeroDuration());
  const int64_t seconds = absl::ToInt64Seconds(duration);
  out->set_seconds(seconds);
  out->set_nanos(static_cast<int32_t>(absl::ToInt64Nanoseconds(duration - absl::Seconds(seconds))));
}

void SetTimestamp(absl::Time time, google::protobuf::Timestamp* out) {
  const int64_t seconds = absl::ToUnixSeconds(time);
  out->set_seconds(seconds);
  out->set_nanos(static_cast<int32_t>(absl::ToInt64Nanoseconds(time - absl::FromUnixSeconds(seconds))));
}

void SetPiece(const storage::PieceRecord& record, common::v2::Piece* out) {
  out->set_number(record.number.value());
  if (!record.parent_id.empty()) out->set_parent_id(record.parent_id);
  out->set_offset(record.range.offset);
  out->set_length(record.range.length);
  out->set_digest(FormatCrc32Digest(record.crc32));
  out->set_traffic_type(static_cast<common::v2::TrafficType>(record.traffic_type));
  SetDuration(record.cost, out->mutable_cost());
  SetTimestamp(record.created_at, out->mutable_created_at());
}

}  // namespace dragonfly::daemon
