// SPDX-License-Identifier: Apache-2.0
// Persistent cache tasks, their peers and hosts, and how they are written as fields of Redis hashes. Names, texts and
// encodings: dragonfly v2.3.0, scheduler/resource/persistentcache/{task,peer,host}{,_manager}.go; see
// docs/persistent-cache.md.
#pragma once

#include <cstdint>
#include <optional>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "absl/time/time.h"
#include "base/piece.h"
#include "common/v2/common.pb.h"

namespace dragonfly::scheduler {

using Fields = std::vector<std::pair<std::string, std::string>>;

enum class PersistentTaskState { kPending, kUploading, kSucceeded, kFailed };

struct PersistentTask {
  PersistentTask() = default;
  std::string id;
  uint64_t persistent_replica_count = 0;  // wanted
  std::string tag, application;
  uint64_t piece_length = 0;
  uint64_t content_length = 0;
  uint32_t piece_count = 0;
  PersistentTaskState state = PersistentTaskState::kPending;
  absl::Duration ttl;
  absl::Time created_at, updated_at;  // whole seconds when read back

  // How long it has to live; zero or less when it has not.
  absl::Duration Left(absl::Time now) const { return created_at + ttl - now; }
};

enum class PersistentPeerState {
  kPending,
  kUploading,
  kReceivedEmpty,
  kReceivedNormal,
  kRunning,
  kSucceeded,
  kFailed,
};

// Which pieces a peer has. Grows up to kPieceCountMax.
class FinishedPieces {
 public:
  FinishedPieces() = default;
  // All of `count` pieces.
  static FinishedPieces All(uint32_t count);
  // False when `number` is beyond what any task has; nothing is allocated then.
  bool Set(uint32_t number);
  bool Has(uint32_t number) const;
  uint32_t count() const;
  // The form of github.com/bits-and-blooms/bitset v1.22.0: length and words, big-endian, bit i in word i/64.
  std::string Encode() const;
  // Errors: INVALID_ARGUMENT.
  static absl::StatusOr<FinishedPieces> Decode(std::string_view bytes);

 private:
  uint64_t length_ = 0;
  std::vector<uint64_t> words_;
};

struct PersistentPeer {
  PersistentPeer() = default;
  std::string id;
  bool persistent = false;
  FinishedPieces pieces;
  PersistentPeerState state = PersistentPeerState::kPending;
  std::vector<std::string> block_parents;
  std::string task_id, host_id;
  absl::Duration cost;
  absl::Time created_at, updated_at;
};

struct PersistentHost {
  PersistentHost() = default;
  common::v2::Host wire;
  absl::Duration announce_interval;  // 0: never expires
  absl::Time created_at, updated_at;
};

std::string_view TextOf(PersistentTaskState state);
std::string_view TextOf(PersistentPeerState state);

Fields ToFields(const PersistentTask& task);
Fields ToFields(const PersistentPeer& peer);
Fields ToFields(const PersistentHost& host);
// Errors: INTERNAL naming the field that is missing or does not parse.
absl::StatusOr<PersistentTask> TaskOf(const Fields& fields);
absl::StatusOr<PersistentPeer> PeerOf(const Fields& fields);
absl::StatusOr<PersistentHost> HostOf(const Fields& fields);

}  // namespace dragonfly::scheduler
