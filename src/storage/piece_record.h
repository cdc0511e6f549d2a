// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <cstdint>
#include <memory>
#include <string>

#include "absl/time/time.h"
#include "base/byte_range.h"
#include "base/piece.h"
#include "base/unique_fd.h"

namespace dragonfly::storage {

// How a piece came here; the numbers are common.v2.TrafficType.
enum class TrafficType : int { kBackToSource = 0, kRemotePeer = 1, kLocalPeer = 2 };

// A finished piece.
struct PieceRecord {
  PieceNumber number;
  ByteRange range;        // in the task's file
  uint32_t crc32 = 0;     // of the bytes
  std::string parent_id;  // peer it came from; empty for the origin
  TrafficType traffic_type = TrafficType::kBackToSource;
  absl::Duration cost;  // from begin to finish
  absl::Time created_at;
};

// The bytes of a finished piece: a part of an open file, good for sendfile(2) and pread(2) from any thread for as long
// as it is held, also when the task is deleted meanwhile.
struct PieceBytes {
  std::shared_ptr<const UniqueFd> file;
  PieceRecord record;
};

}  // namespace dragonfly::storage
