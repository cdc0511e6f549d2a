// SPDX-License-Identifier: Apache-2.0
#include "scheduler/parent_finder.h"

#include <algorithm>

namespace dragonfly::scheduler {
namespace {

bool HasLiveParent(const Peer& peer) {
  return std::any_of(peer.parents().begin(), peer.parents().end(),
                     [](const GraphNode* parent) { return !static_cast<const Peer*>(parent)->lost(); });
}

bool HasStateOfAParent(const Peer& peer) {
  return peer.state() == PeerState::kRunning || peer.state() == PeerState::kBackToSource ||
         peer.state() == PeerState::kSucceeded;
}

}  // namespace

Refusal ParentFinder::Test(const Peer& parent, const Peer& child, TimePoint now) const {
  const Task& task = child.task();
  if (&parent == &child || child.Blocks(parent.id())) return Refusal::kBlocked;
  if (!task.content_length().has_value() && !child.host_facts().knows_length) return Refusal::kLength;
  if (parent.host_facts().disable_shared) return Refusal::kNotShared;
  if (&parent.slot() == &child.slot()) return Refusal::kSameHost;
  if (parent.lost()) return Refusal::kLost;
  if (!parent.host_facts().seed() && parent.state() != PeerState::kBackToSource &&
      parent.state() != PeerState::kSucceeded && !HasLiveParent(parent)) {
    return Refusal::kNothingToGive;
  }
  if (!HasStateOfAParent(parent)) return Refusal::kBad;
  if (parent.FreeUploadSlots() <= 0) return Refusal::kNoSlot;
  if (ParentGraph::HasEdge(parent, child)) return Refusal::kEdge;
  if (task.graph().Reaches(parent)) return Refusal::kCircle;
  if (evaluator_.IsBad(parent, now)) return Refusal::kSlow;
  return Refusal::kNone;
}

std::vector<Peer*> ParentFinder::Find(Peer& child, TimePoint now) {
  std::vector<Peer*> found;
  if (child.state() != PeerState::kReceivedNormal && child.state() != PeerState::kRunning) return found;
  Task& task = child.task();
  if (!task.content_length().has_value() && !child.host_facts().knows_length) return found;
  Prepare(child);
  scored_.clear();
  slow_.clear();
  // A partial shuffle: each draw is uniform among those not drawn yet.
  const size_t count = task.parent_count();
  for (size_t drawn = 0; drawn < count && scored_.size() < limits_.sample; ++drawn) {
    const size_t index = drawn + random_() % (count - drawn);
    task.SwapParents(drawn, index);
    Peer& parent = task.parent(drawn);
    const Refusal refusal = Test(parent, child, now);
    if (refusal == Refusal::kNone) scored_.push_back({evaluator_.Score(parent, child), &parent});
    if (refusal == Refusal::kSlow && slow_.size() < limits_.sample) {
      slow_.push_back({evaluator_.Score(parent, child), &parent});
    }
  }
  // A slow parent is worse than a fast one and better than the origin.
  if (scored_.empty()) scored_.swap(slow_);
  const size_t take = std::min(limits_.candidates, scored_.size());
  std::partial_sort(scored_.begin(), scored_.begin() + static_cast<std::ptrdiff_t>(take), scored_.end(),
                    [](const Scored& a, const Scored& b) { return a.score > b.score; });
  found.reserve(take);
  for (size_t i = 0; i < take; ++i) found.push_back(scored_[i].peer);
  return found;
}

}  // namespace dragonfly::scheduler
