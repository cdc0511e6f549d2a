// SPDX-License-Identifier: Apache-2.0
#include "scheduler/parent_finder.h"

#include <algorithm>
#include <utility>

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

Refusal ParentFinder::Test(const Peer& parent, const Peer& child, TimePoint now) {
  ++work_;
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

// A partial shuffle: each draw is uniform among those not drawn yet.
Peer& ParentFinder::Draw(Task& task, size_t drawn) {
  ++work_;
  task.SwapParents(drawn, drawn + random_() % (task.parent_count() - drawn));
  return task.parent(drawn);
}

std::vector<Peer*> ParentFinder::Best(size_t count) {
  const size_t take = std::min(count, scored_.size());
  std::partial_sort(scored_.begin(), scored_.begin() + static_cast<std::ptrdiff_t>(take), scored_.end(),
                    [](const Scored& a, const Scored& b) { return a.score > b.score; });
  std::vector<Peer*> best;
  best.reserve(take);
  for (size_t i = 0; i < take; ++i) best.push_back(scored_[i].peer);
  return best;
}

std::vector<Peer*> ParentFinder::Find(Peer& child, TimePoint now, bool spare_full, const Peer* first) {
  has_spared_ = false;
  if (child.state() != PeerState::kReceivedNormal && child.state() != PeerState::kRunning) return {};
  Task& task = child.task();
  if (!task.content_length().has_value() && !child.host_facts().knows_length) return {};
  Prepare(child);
  scored_.clear();
  slow_.clear();
  const size_t count = std::min(task.parent_count(), kDrawsMax);
  if (first != nullptr) task.BringToFront(*first);
  for (size_t drawn = 0; drawn < count && scored_.size() < limits_.sample; ++drawn) {
    if (limits_.refused_count && drawn >= limits_.sample) break;
    Peer& parent = first != nullptr && drawn == 0 ? task.parent(0) : Draw(task, drawn);
    if (spare_full && evaluator_.IsBusy(parent, child)) {
      has_spared_ = true;
      continue;
    }
    const Refusal refusal = Test(parent, child, now);
    if (refusal == Refusal::kNone) scored_.push_back({evaluator_.Score(parent, child), &parent});
    if (refusal == Refusal::kSlow && slow_.size() < limits_.sample) {
      slow_.push_back({evaluator_.Score(parent, child), &parent});
    }
  }
  // A slow parent is worse than a fast one and better than the origin.
  if (scored_.empty() && !limits_.refused_count) scored_.swap(slow_);
  // What a child takes from a second complete parent it could have from the swarm, and others could not.
  if (spare_full && child.takes_more_parents && 2 * task.complete_count() < task.peer_count()) return BestWithOneRoot();
  return Best(limits_.candidates);
}

std::vector<Peer*> ParentFinder::BestWithOneRoot() {
  std::vector<Peer*> best = Best(scored_.size());
  bool found = false;
  std::erase_if(best, [&](Peer* peer) { return peer->parents().empty() && std::exchange(found, true); });
  if (best.size() > limits_.candidates) best.resize(limits_.candidates);
  return best;
}

std::vector<Peer*> ParentFinder::FindMore(Peer& child, TimePoint now, size_t more) {
  Task& task = child.task();
  Prepare(child);
  scored_.clear();
  std::vector<Scored> far;
  const size_t count = std::min(task.parent_count(), kDrawsMax);
  for (size_t drawn = 0; drawn < count && scored_.size() < limits_.sample; ++drawn) {
    Peer& parent = Draw(task, drawn);
    if (Task::IsHelper(parent, child) || evaluator_.IsFull(parent)) continue;
    const Refusal refusal = Test(parent, child, now);
    if (refusal != Refusal::kNone && refusal != Refusal::kCircle) continue;
    (evaluator_.IsFar(parent, child) ? far : scored_).push_back({evaluator_.Score(parent, child), &parent});
  }
  if (scored_.empty()) scored_.swap(far);
  return Best(more);
}

}  // namespace dragonfly::scheduler
