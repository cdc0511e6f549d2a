// SPDX-License-Identifier: Apache-2.0
// A file that peers download, the peers, and what is known of it.
#pragma once

#include <cstdint>
#include <functional>
#include <map>
#include <memory>
#include <optional>
#include <set>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include "absl/container/flat_hash_set.h"
#include "absl/status/status.h"
#include "base/ids.h"
#include "base/piece.h"
#include "scheduler/parent_graph.h"
#include "scheduler/peer.h"
#include "scheduler/state.h"
#include "scheduler/wait_list.h"

namespace common::v2 {
class Download;
}

namespace dragonfly::scheduler {

// What a registration says the task is. Request headers are not kept: they carry credentials.
struct TaskAbout {
  TaskAbout() = default;
  TaskType type = TaskType::kStandard;
  std::string url;
  std::string digest;
  std::string tag;
  std::string application;
  std::vector<std::string> filtered_query_params;
};

// A peer that fetches from the origin, or was told to and has not begun.
struct SourceWorker {
  Peer* peer = nullptr;
  TimePoint progress_at{};  // when it was sent, and then its last new piece
};

// A seed that was asked to fetch the task.
struct SeedTrigger {
  uint64_t id = 0;  // of the last request; 0: none yet
  bool pending = false;
  std::string host_id;
  TimePoint progress_at{};
  int attempts = 0;                                      // of this round
  std::shared_ptr<const common::v2::Download> download;  // while pending
  telemetry::SpanContext trace;                          // of the peer that caused it
};

// Keeps peers, edges, upload slots, source workers and the list of possible parents consistent with one another.
// Thread rule: on its shard's thread.
class Task {
 public:
  Task(std::string id, TaskAbout about, TimePoint now);
  // Gives the upload slots back.
  ~Task();
  Task(const Task&) = delete;
  Task& operator=(const Task&) = delete;

  const std::string& id() const { return id_; }
  const TaskAbout& about() const { return about_; }
  // A later registration brings a new URL and filter (another signature of the same object).
  void UpdateUrl(std::string url, std::vector<std::string> filtered_query_params);
  TaskState state() const { return state_; }
  absl::Status Fire(TaskEvent event, TimePoint now);

  // -- Content. Nothing is ever assumed: a fact is absent until a peer has stated it.
  std::optional<uint64_t> content_length() const { return content_length_; }
  // 0: not known.
  uint64_t piece_length() const { return piece_length_; }
  uint32_t piece_count() const;
  void LearnContentLength(uint64_t content_length);
  void LearnPieceLength(uint64_t piece_length);
  // Used only as long as the count does not follow from the lengths.
  void LearnPieceCount(uint64_t piece_count);
  // A piece's place tells the piece length.
  void LearnFromPiece(PieceNumber number, uint64_t offset, uint64_t length);
  // The origin could not be read and nobody holds anything.
  void ForgetContent();
  // True when no piece of this number can exist.
  bool Excludes(PieceNumber number) const;
  // Changes with everything that candidates' common.v2.Task shows.
  uint64_t version() const { return version_; }

  // -- Peers.
  struct PeerHash {
    using is_transparent = void;
    size_t operator()(std::string_view id) const { return absl::HashOf(id); }
    size_t operator()(const std::unique_ptr<Peer>& peer) const { return absl::HashOf(std::string_view(peer->id())); }
  };
  struct PeerEq {
    using is_transparent = void;
    static std::string_view Id(std::string_view id) { return id; }
    static std::string_view Id(const std::unique_ptr<Peer>& peer) { return peer->id(); }
    template <typename A, typename B>
    bool operator()(const A& a, const B& b) const {
      return Id(a) == Id(b);
    }
  };
  using Peers = absl::flat_hash_set<std::unique_ptr<Peer>, PeerHash, PeerEq>;
  const Peers& peers() const { return peers_; }
  Peer* Find(std::string_view peer_id) const;
  // The id must be new.
  Peer& Add(std::string peer_id, HostSlot& slot, TimePoint now);
  // Frees its edges and the peer itself.
  void Remove(Peer& peer);
  // Moves the peer to its next state, with what follows for edges, source workers and possible parents.
  // Errors: INTERNAL, see Next().
  absl::Status Fire(Peer& peer, PeerEvent event, TimePoint now);
  // A peer that registers again under its id begins anew, with the pieces that it has.
  void Restart(Peer& peer, TimePoint now);
  // The peer has the piece; false when it was known. To be used instead of peer.pieces.Insert().
  bool AddPiece(Peer& peer, PieceNumber number);
  // Sets or clears Peer::lost_at.
  void SetLost(Peer& peer, std::optional<TimePoint> lost_at);

  // -- Edges. An edge takes an upload slot of the parent's host.
  // Call SearchFrom(child) before and do not add an edge that closes a circle. False when the parent has no slot left.
  bool Connect(Peer& parent, Peer& child);
  // The same for an edge that may close a circle.
  bool ConnectHelper(Peer& helper, Peer& child);
  static bool IsHelper(const Peer& helper, const Peer& child);
  // Those of both kinds.
  void DropParents(Peer& child);
  void DropChildren(Peer& parent);
  // The peers that have lost their last parent and still have helpers; each is taken once.
  bool has_orphans() const { return !orphans_.empty(); }
  Peer& TakeOrphan();
  // Data centres with a peer that has a parent in another one.
  size_t gateway_sites() const { return gateways_.size(); }
  // How many peers of the data centre have a parent in another one.
  size_t gateways(std::string_view idc) const {
    const auto count = gateways_.find(idc);
    return count == gateways_.end() ? 0 : count->second;
  }
  ParentGraph& graph() { return graph_; }
  const ParentGraph& graph() const { return graph_; }

  // -- Possible parents: Running, BackToSource or Succeeded and not lost, in no order. Sampling may reorder them.
  // Of the peers of the task, those that have everything and are not on seeds.
  size_t complete_count() const { return complete_count_; }
  size_t peer_count() const { return peers_.size(); }
  size_t parent_count() const { return parents_.size(); }
  Peer& parent(size_t index) const { return *parents_[index]; }
  void SwapParents(size_t a, size_t b);
  void BringToFront(const Peer& parent) { SwapParents(0, static_cast<size_t>(parent.parent_index_)); }
  // -- Peers that shall be given helpers, by the time when.
  void WidenAt(Peer& peer, TimePoint when);  // kNoDeadline: not any more
  TimePoint NextWidening() const { return widenings_.empty() ? kNoDeadline : widenings_.begin()->first; }
  // The first of them, which is then no longer among them.
  Peer& TakeWidening();

  // The possible parents that are new, have got a free slot, or have no beginner any more since the last call. Each may
  // appear twice.
  std::vector<Peer*> TakeNews() { return std::exchange(news_, {}); }
  void ForgetNews() { news_.clear(); }
  bool has_news() const { return !news_.empty(); }

  // -- The origin.
  const std::vector<SourceWorker>& sources() const { return sources_; }
  // The peer is told to fetch from the origin.
  void AddSource(Peer& peer, TimePoint now);
  void RemoveSource(Peer& peer);
  void NoteSourceProgress(Peer& peer, TimePoint now);
  SeedTrigger& trigger() { return trigger_; }
  const SeedTrigger& trigger() const { return trigger_; }
  // Refusals of the origin in a row, without a piece in between.
  int source_failures = 0;
  // The last time a seed reached the task and failed.
  std::optional<TimePoint> seed_failed_at;

  // -- Waiting.
  WaitList& waiters() { return waiters_; }
  const WaitList& waiters() const { return waiters_; }
  // When the waiters must be looked at again; kNoDeadline: not by the clock.
  TimePoint check_at = kNoDeadline;
  // Of the look at the waiters that is under way (WaitList::walking()): when the earliest is due, and whether one of
  // them shall go to the origin.
  TimePoint check_next_due = kNoDeadline;
  bool check_source_due = false;
  // When peers must be widened, as the dispatcher has noted it.
  TimePoint widen_at = kNoDeadline;

  TimePoint created_at;
  TimePoint updated_at;

  // The serialised common.v2.Task for candidates, as of `wire_version`; kept here for whoever serialises.
  std::string wire;
  uint64_t wire_version = 0;

 private:
  static bool CanServe(const Peer& peer);
  void UpdateParentList(Peer& peer);
  void AddNews(Peer& parent);
  void Disconnect(Peer& parent, Peer& child);
  void DisconnectHelper(Peer& helper, Peer& child);
  void CountGateway(Peer& child);

  const std::string id_;
  TaskAbout about_;
  TaskState state_ = TaskState::kPending;
  std::optional<uint64_t> content_length_;
  uint64_t piece_length_ = 0;
  uint32_t stated_piece_count_ = 0;
  uint64_t version_ = 1;
  Peers peers_;
  size_t complete_count_ = 0;
  std::map<std::string, size_t, std::less<>> gateways_;  // of each data centre
  ParentGraph graph_;
  std::vector<Peer*> parents_;
  std::vector<Peer*> news_;
  std::vector<Peer*> orphans_;
  std::set<std::pair<TimePoint, Peer*>> widenings_;
  std::vector<SourceWorker> sources_;
  SeedTrigger trigger_;
  WaitList waiters_;
};

}  // namespace dragonfly::scheduler
