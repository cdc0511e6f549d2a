// SPDX-License-Identifier: Apache-2.0
// Records as messages of the wire. Only .cc files include this.
#pragma once

#include "absl/time/time.h"
#include "common/v2/common.pb.h"
#include "daemon/host_identity.h"
#include "storage/piece_record.h"

namespace dragonfly::daemon {

void SetDuration(absl::Duration duration, google::protobuf::Duration* out);
void SetTimestamp(absl::Time time, google::protobuf::Timestamp* out);
// Everything but the content.
void SetPiece(const storage::PieceRecord& record, common::v2::Piece* out);

// The news that a piece is here, and where `identity` serves it: dfdaemon.v2.SyncPiecesResponse,
// SyncPersistentCachePiecesResponse.
template <typename News>
void SetNews(const storage::PieceRecord& record, const HostIdentity& identity, News* out) {
  out->set_number(record.number.value());
  out->set_offset(record.range.offset);
  out->set_length(record.range.length);
  if (identity.vortex_port == 0) return;
  out->set_ip(identity.ip);
  out->set_tcp_port(identity.vortex_port);
  if (identity.quic_port != 0) out->set_quic_port(identity.quic_port);
}

}  // namespace dragonfly::daemon
