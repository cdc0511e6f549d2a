// SPDX-License-Identifier: Apache-2.0
// One download of one task by one host.
#pragma once

#include <cstdint>
#include <memory>
#include <optional>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include "runtime/clock.h"
#include "scheduler/cost_statistics.h"
#include "scheduler/host.h"
#include "scheduler/parent_graph.h"
#include "scheduler/peer_stream.h"
#include "scheduler/piece_set.h"
#include "scheduler/state.h"

namespace dragonfly::scheduler {

class Peer;
class Task;

// A shard's view of a host: the facts that it schedules by, and the host's peers in this shard.
struct HostSlot {
  std::shared_ptr<Host> host;
  std::shared_ptr<const HostFacts> facts;
  std::vector<Peer*> peers;
};

// As asked for, not checked against the file.
struct RequestedRange {
  uint64_t start = 0;
  uint64_t length = 0;
};

// Belongs to its task; state, edges and index positions change only through Task. About a hundred thousand of these
// live at once: no map, no piece table, no string beyond the id.
class Peer : public GraphNode {
 public:
  Peer(std::string id, Task& task, HostSlot& slot, TimePoint now)
      : created_at(now), updated_at(now), piece_updated_at(now), id_(std::move(id)), task_(&task), slot_(&slot) {}

  const std::string& id() const { return id_; }
  Task& task() const { return *task_; }
  HostSlot& slot() const { return *slot_; }
  Host& host() const { return *slot_->host; }
  const HostFacts& host_facts() const { return *slot_->facts; }
  PeerState state() const { return state_; }
  // Its stream has broken and it may come back within the grace time; nobody is sent to it meanwhile.
  bool lost() const { return lost_at.has_value(); }
  bool waiting() const { return waiting_; }

  // Peers that it may take pieces from and that may take pieces from it in turn, and the other end of the same. Unlike
  // parents they may form circles, so that each gives what the other lacks; a peer that downloads has a parent beside.
  const std::vector<Peer*>& helpers() const { return helpers_; }
  const std::vector<Peer*>& helped() const { return helped_; }

  // Children that have not got a piece yet.
  int32_t beginners() const { return beginners_; }

  int32_t FreeUploadSlots() const { return slot_->facts->upload_limit - slot_->host->upload_slots(); }

  bool Blocks(std::string_view parent_id) const;
  // The blocked parent is never offered to this peer again. Keeps the latest kBlockedMax.
  void Block(std::string_view parent_id);
  static constexpr size_t kBlockedMax = 256;

  // What the peer told.
  int32_t priority = 0;  // common.v2.Priority
  std::optional<RequestedRange> range;
  bool need_back_to_source = false;
  // It takes parents at any time, not only when it has asked for some.
  bool takes_more_parents = false;

  // What it did.
  PieceSet pieces;
  CostStatistics costs;     // of pieces that children got from it (or of its own, see SchedulingOptions)
  TimePoint costs_at{};     // when the last was added
  Clock::duration cost{0};  // from registration to the end
  TimePoint created_at;
  TimePoint updated_at;
  TimePoint piece_updated_at;

  std::shared_ptr<PeerStream> stream;  // null when there is none
  std::optional<TimePoint> lost_at;

 private:
  friend class Dispatcher;
  friend class Shard;
  friend class Task;
  friend class WaitList;

  const std::string id_;
  Task* const task_;
  HostSlot* const slot_;
  std::vector<std::string> blocked_;
  int32_t beginners_ = 0;
  std::vector<Peer*> helpers_;
  std::vector<Peer*> helped_;
  TimePoint widen_at_ = kNoDeadline;
  uint8_t widenings_ = 0;
  // Where its task counts it as one that has a parent in another data centre.
  std::pair<const std::string, size_t>* gateways_ = nullptr;
  PeerState state_ = PeerState::kPending;
  bool waiting_ = false;
  TimePoint waiting_since_{};
  Peer* wait_previous_ = nullptr;
  Peer* wait_next_ = nullptr;
  size_t slot_index_ = 0;      // in HostSlot::peers
  size_t shard_index_ = 0;     // in the shard's list of all peers
  int32_t parent_index_ = -1;  // in the task's list of possible parents
  bool counted_complete_ = false;
};

// In different data centres, as far as both say where they are.
inline bool AreApart(const Peer& a, const Peer& b) {
  const std::string& idc = a.host_facts().idc;
  const std::string& other = b.host_facts().idc;
  return !idc.empty() && !other.empty() && idc != other;
}

}  // namespace dragonfly::scheduler
