// SPDX-License-Identifier: Apache-2.0
// One share of the tasks with their peers: the dialogue of AnnouncePeer, deletions and garbage collection, without
// sockets, threads or clocks.
#pragma once

#include <chrono>
#include <cstdint>
#include <functional>
#include <memory>
#include <optional>
#include <set>
#include <span>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include "absl/container/flat_hash_map.h"
#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "scheduler/dispatcher.h"
#include "scheduler/evaluator.h"
#include "scheduler/host_table.h"
#include "scheduler/task.h"

namespace dragonfly::scheduler {

// Whose piece costs tell that a peer is a bad parent.
enum class CostSource {
  kChildren,  // what its children needed for pieces from it
  kItself,    // what it needed for its own pieces, as the original does
};

struct ShardOptions {
  ShardOptions() = default;
  DispatchOptions dispatch;
  CostSource cost_source = CostSource::kChildren;
  // A peer whose stream has broken may come back within this time.
  Clock::duration stream_grace = std::chrono::seconds(5);
  // Garbage collection.
  Clock::duration piece_download_timeout = std::chrono::minutes(30);
  Clock::duration peer_ttl = std::chrono::hours(24);
  Clock::duration host_ttl = std::chrono::hours(1);
  size_t peers_per_task = 300;  // beyond, complete peers without edges are forgotten
};

// The three ids that every message of the dialogue carries.
struct PeerAddress {
  std::string_view host_id;
  std::string_view task_id;
  std::string_view peer_id;
};

struct Registration {
  Registration() = default;
  TaskAbout about;
  int32_t priority = 0;  // common.v2.Priority
  std::optional<RequestedRange> range;
  bool need_back_to_source = false;
  bool metadata_only = false;       // the peer has all pieces and only says so
  bool takes_more_parents = false;  // see PeerStream::SendMoreParents()
  // Facts, when the peer knows them.
  std::optional<uint64_t> content_length;
  std::optional<uint64_t> piece_length;
  std::optional<uint64_t> piece_count;
  std::shared_ptr<const common::v2::Download> download;  // for a seed
  std::shared_ptr<PeerStream> stream;
};

struct PieceReport {
  PieceNumber number;
  uint64_t offset = 0;
  uint64_t length = 0;
  std::string_view parent_id;  // empty: from the origin
  Clock::duration cost{0};
};

// Whom a report of a piece was about; valid until the next call of the shard.
struct PieceParties {
  const Peer* peer;
  const Peer* parent;  // null: from the origin, or from a peer that is not known
};

enum class Origin { kPeers, kSource };

// Thread rule: every method on one thread, `now` never goes back. After each call, and at NextDeadline(), the owner
// calls Tick(). Answers to peers go out through their PeerStream.
//
// Errors of the dialogue end the conversation and leave the peer Failed; their texts are the original's.
class Shard {
 public:
  // `hosts`, `evaluator` and `seeds` must outlive the shard.
  Shard(const ShardOptions& options, HostTable& hosts, const Evaluator& evaluator, SeedLauncher& seeds);
  ~Shard();

  // -- AnnouncePeer. Errors of all: NOT_FOUND "host|peer <id> not found", INTERNAL for an event out of turn.
  // Also INVALID_ARGUMENT, NOT_FOUND, FAILED_PRECONDITION by priority.
  absl::Status Register(const PeerAddress& who, Registration registration, TimePoint now);
  absl::Status Started(const PeerAddress& who, TimePoint now);
  absl::Status BackToSourceStarted(const PeerAddress& who, TimePoint now);
  // `tried` are peer ids that did not serve. FAILED_PRECONDITION when the peer has ended, or its stream has broken.
  absl::Status Reschedule(const PeerAddress& who, std::span<const std::string> tried, TimePoint now);
  // Terminal messages: after them the peer's stream is no longer used. 0: not told.
  absl::Status Finished(const PeerAddress& who, Origin origin, uint64_t content_length, uint64_t piece_count,
                        TimePoint now);
  absl::Status Failed(const PeerAddress& who, Origin origin, TimePoint now);
  // Errors of piece reports are for the log only. INVALID_ARGUMENT: no such piece can exist.
  absl::StatusOr<PieceParties> PieceFinished(const PeerAddress& who, Origin origin, const PieceReport& piece,
                                             TimePoint now);
  absl::Status PieceFailed(const PeerAddress& who, std::string_view parent_id, bool temporary, TimePoint now);
  absl::Status PieceFromSourceFailed(const PeerAddress& who, TimePoint now);
  // The stream has ended, from the other side or by an error.
  void StreamEnded(const PeerAddress& who, const PeerStream* stream, TimePoint now);

  // -- Seeds, see SeedLauncher. `content_length` as the seed has read it from the origin.
  void SeedProgress(std::string_view task_id, uint64_t trigger_id, std::optional<uint64_t> content_length,
                    TimePoint now);
  // A seed that already had everything does not register: `served_as` is then the peer that it is known by, with the
  // range that it was asked for.
  struct SeedPeer {
    std::string peer_id;
    std::optional<RequestedRange> range;
  };
  void SeedEnded(std::string_view task_id, uint64_t trigger_id, const absl::Status& status,
                 const std::optional<SeedPeer>& served_as, TimePoint now);

  // -- Looking and deleting.
  const Task* FindTask(std::string_view task_id) const;
  const Peer* FindPeer(std::string_view task_id, std::string_view peer_id) const;
  // False when there is no such peer.
  bool DeletePeer(std::string_view task_id, std::string_view peer_id, TimePoint now);
  // The host's peers of the task.
  void DeleteTask(std::string_view host_id, std::string_view task_id, TimePoint now);
  // All peers of the host; of very many the last ones by Tick().
  void DeleteHost(std::string_view host_id, TimePoint now);
  // The host has announced itself again.
  void UpdateHost(const std::shared_ptr<const HostFacts>& facts);

  // For decisions from now on.
  void SetLimits(ParentLimits limits) { dispatcher_.SetLimits(limits); }

  // -- Garbage collection, in steps of at most `max` peers or tasks; true when the round is complete.
  bool CollectPeers(TimePoint now, size_t max);
  // Tasks that nobody has any more, and this shard's records of hosts without peers.
  bool CollectTasks(size_t max);

  // Tick() does a part of what is due that takes a millisecond or two; NextDeadline() is due again when more is left.
  TimePoint NextDeadline() const;
  void Tick(TimePoint now);

  size_t task_count() const { return tasks_.size(); }
  size_t peer_count() const { return peers_.size(); }

 private:
  absl::StatusOr<Peer*> Find(const PeerAddress& who) const;
  absl::StatusOr<HostSlot*> SlotOf(std::string_view host_id, TimePoint now);
  Task& TaskOf(std::string_view task_id, TaskAbout about, TimePoint now);
  absl::StatusOr<Peer*> PeerOf(Task& task, const PeerAddress& who, TimePoint now);
  absl::Status Fail(Peer& peer, Origin origin, TimePoint now);
  // Runs `step`; when it fails, the peer fails with it.
  absl::Status OrFail(Peer& peer, Origin origin, TimePoint now, absl::Status step);
  void Remove(Peer& peer, TimePoint now);
  void Unlose(Peer& peer);
  // The host has gone: no new peer comes to its slot, and those that it has are removed in steps.
  void Leave(std::string_view host_id, TimePoint now);
  void RemoveLeaving(TimePoint now);
  bool IsExpired(const Peer& peer, TimePoint now) const;

  const ShardOptions options_;
  HostTable& hosts_;
  Dispatcher dispatcher_;
  absl::flat_hash_map<std::string, std::unique_ptr<HostSlot>> slots_;  // outlives the peers, which point into it
  absl::flat_hash_map<std::string, std::unique_ptr<Task>> tasks_;
  std::vector<std::unique_ptr<HostSlot>> leaving_;  // whose peers are still to be removed
  TimePoint left_at_{};                             // of the last of them
  std::set<Task*> empty_tasks_;                     // those that have no peers, and perhaps have some again
  std::set<HostSlot*> empty_slots_;
  std::vector<Peer*> peers_;
  std::set<std::pair<TimePoint, Peer*>> lost_;  // by the time when they were lost
  size_t collected_ = 0;  // peers below this index are still to be looked at in this round of collection
};

}  // namespace dragonfly::scheduler
