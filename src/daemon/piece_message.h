// SPDX-License-Identifier: Apache-2.0
// Records as messages of the wire. Only .cc files include this.
#pragma once

#include "absl/time/time.h"
#include "common/v2/common.pb.h"
#include "storage/piece_record.h"

namespace dragonfly::daemon {

void SetDuration(absl::Duration duration, google::protobuf::Duration* out);
void SetTimestamp(absl::Time time, google::protobuf::Timestamp* out);
// Everything but the content.
void SetPiece(const storage::PieceRecord& record, common::v2::Piece* out);

}  // namespace dragonfly::daemon
