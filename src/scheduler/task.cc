// SPDX-License-Identifier: Apache-2.0
#include "scheduler/task.h"

#include <algorithm>
#include <utility>

#include "base/status.h"

namespace dragonfly::scheduler {

Task::Task(std::string id, TaskAbout about, TimePoint now)
    : created_at(now), updated_at(now), id_(std::move(id)), about_(std::move(about)) {}

Task::~Task() {
  for (const auto& peer : peers_) DropParents(*peer);
}

void Task::UpdateUrl(std::string url, std::vector<std::string> filtered_query_params) {
  if (about_.url == url && about_.filtered_query_params == filtered_query_params) return;
  about_.url = std::move(url);
  about_.filtered_query_params = std::move(filtered_query_params);
  ++version_;
}

absl::Status Task::Fire(TaskEvent event, TimePoint now) {
  DF_ASSIGN_OR_RETURN(state_, Next(state_, event));
  updated_at = now;
  ++version_;
  return absl::OkStatus();
}

uint32_t Task::piece_count() const {
  if (!content_length_.has_value() || piece_length_ == 0) return stated_piece_count_;
  const absl::StatusOr<PieceLayout> layout = PieceLayout::Make(*content_length_, piece_length_);
  return layout.ok() ? layout->piece_count() : stated_piece_count_;
}

void Task::LearnContentLength(uint64_t content_length) {
  if (content_length_ == content_length) return;
  // An empty file is believed only as long as nobody has seen another: the answer to it ends a download.
  if (content_length == 0 && content_length_.has_value()) return;
  const bool was_known = content_length_.has_value();
  content_length_ = content_length;
  ++version_;
  // Children that do not know the length themselves can use parents from now on.
  if (!was_known && !waiters_.empty()) news_.insert(news_.end(), parents_.begin(), parents_.end());
}

void Task::LearnPieceLength(uint64_t piece_length) {
  if (piece_length == 0 || piece_length_ == piece_length) return;
  piece_length_ = piece_length;
  ++version_;
}

void Task::LearnPieceCount(uint64_t piece_count) {
  if (piece_count == 0 || piece_count > kPieceCountMax || piece_count == stated_piece_count_) return;
  stated_piece_count_ = static_cast<uint32_t>(piece_count);
  ++version_;
}

void Task::LearnFromPiece(PieceNumber number, uint64_t offset, uint64_t length) {
  if (piece_length_ != 0) return;
  if (number.value() > 0) {
    if (offset % number.value() == 0) LearnPieceLength(offset / number.value());
  } else if (content_length_.has_value() && *content_length_ > length) {
    LearnPieceLength(length);
  }
}

void Task::ForgetContent() {
  content_length_.reset();
  piece_length_ = 0;
  stated_piece_count_ = 0;
  ++version_;
}

bool Task::Excludes(PieceNumber number) const {
  if (number.value() >= kPieceCountMax) return true;
  // Only lengths bound the count: the stated one may be the rest that an old client still had to fetch.
  return content_length_.has_value() && piece_length_ != 0 && number.value() >= piece_count();
}

Peer* Task::Find(std::string_view peer_id) const {
  const auto at = peers_.find(peer_id);
  return at == peers_.end() ? nullptr : at->get();
}

Peer& Task::Add(std::string peer_id, HostSlot& slot, TimePoint now) {
  Peer& peer = **peers_.insert(std::make_unique<Peer>(std::move(peer_id), *this, slot, now)).first;
  peer.slot_index_ = slot.peers.size();
  slot.peers.push_back(&peer);
  return peer;
}

void Task::Remove(Peer& peer) {
  DropParents(peer);
  DropChildren(peer);
  RemoveSource(peer);
  waiters_.Remove(peer);
  peer.state_ = PeerState::kLeave;
  UpdateParentList(peer);
  std::erase(news_, &peer);
  std::erase(orphans_, &peer);
  WidenAt(peer, kNoDeadline);
  std::vector<Peer*>& siblings = peer.slot_->peers;
  siblings[peer.slot_index_] = siblings.back();
  siblings[peer.slot_index_]->slot_index_ = peer.slot_index_;
  siblings.pop_back();
  peers_.erase(peers_.find(std::string_view(peer.id())));
}

absl::Status Task::Fire(Peer& peer, PeerEvent event, TimePoint now) {
  DF_ASSIGN_OR_RETURN(peer.state_, Next(peer.state_, event));
  peer.updated_at = now;
  if (peer.state_ != PeerState::kRunning) WidenAt(peer, kNoDeadline);
  switch (peer.state_) {
    case PeerState::kBackToSource:
      DropParents(peer);
      AddSource(peer, now);
      break;
    case PeerState::kRunning:
      RemoveSource(peer);
      break;
    case PeerState::kSucceeded:
      waiters_.Remove(peer);
      DropParents(peer);
      RemoveSource(peer);
      peer.pieces.Freeze();
      break;
    case PeerState::kFailed:
    case PeerState::kLeave:
      waiters_.Remove(peer);
      DropParents(peer);
      DropChildren(peer);
      RemoveSource(peer);
      break;
    default:
      break;
  }
  UpdateParentList(peer);
  return absl::OkStatus();
}

void Task::Restart(Peer& peer, TimePoint now) {
  waiters_.Remove(peer);
  DropParents(peer);
  RemoveSource(peer);
  peer.state_ = PeerState::kPending;
  peer.need_back_to_source = false;
  peer.lost_at.reset();
  WidenAt(peer, kNoDeadline);
  peer.widenings_ = 0;
  peer.updated_at = peer.piece_updated_at = now;
  UpdateParentList(peer);
}

bool Task::AddPiece(Peer& peer, PieceNumber number) {
  if (!peer.pieces.Insert(number)) return false;
  if (peer.pieces.count() > 1) return true;
  for (GraphNode* node : peer.parents()) {
    Peer& parent = static_cast<Peer&>(*node);
    if (--parent.beginners_ == 0) AddNews(parent);
  }
  return true;
}

void Task::SetLost(Peer& peer, std::optional<TimePoint> lost_at) {
  peer.lost_at = lost_at;
  UpdateParentList(peer);
}

void Task::AddNews(Peer& parent) {
  if (parent.parent_index_ < 0 || waiters_.empty()) return;
  if (news_.empty() || news_.back() != &parent) news_.push_back(&parent);
}

Peer& Task::TakeOrphan() {
  Peer& orphan = *orphans_.back();
  orphans_.pop_back();
  return orphan;
}

bool Task::Connect(Peer& parent, Peer& child) {
  if (!parent.host().TakeUploadSlot(parent.host_facts().upload_limit)) return false;
  ParentGraph::AddEdge(parent, child);
  CountGateway(child);
  if (child.pieces.count() == 0) ++parent.beginners_;
  return true;
}

void Task::Disconnect(Peer& parent, Peer& child) {
  ParentGraph::RemoveEdge(parent, child);
  CountGateway(child);
  if (child.pieces.count() == 0) --parent.beginners_;
  parent.host().GiveUploadSlot();
  AddNews(parent);
}

// Looks at all its parents, since an announcement may have moved a host in between.
void Task::CountGateway(Peer& child) {
  const bool far = std::any_of(child.parents().begin(), child.parents().end(), [&](const GraphNode* parent) {
    return AreApart(static_cast<const Peer&>(*parent), child);
  });
  if (far == (child.gateways_ != nullptr)) return;
  if (far) {
    child.gateways_ = &*gateways_.try_emplace(child.host_facts().idc, 0).first;
    ++child.gateways_->second;
  } else {
    // Hosts choose the names of data centres: none is kept that nobody is in.
    auto* const count = std::exchange(child.gateways_, nullptr);
    if (--count->second == 0) gateways_.erase(gateways_.find(count->first));
  }
}

bool Task::ConnectHelper(Peer& helper, Peer& child) {
  if (!helper.host().TakeUploadSlot(helper.host_facts().upload_limit)) return false;
  child.helpers_.push_back(&helper);
  helper.helped_.push_back(&child);
  return true;
}

bool Task::IsHelper(const Peer& helper, const Peer& child) {
  return std::find(child.helpers_.begin(), child.helpers_.end(), &helper) != child.helpers_.end();
}

void Task::DisconnectHelper(Peer& helper, Peer& child) {
  std::erase(child.helpers_, &helper);
  std::erase(helper.helped_, &child);
  helper.host().GiveUploadSlot();
  AddNews(helper);
}

void Task::DropParents(Peer& child) {
  while (!child.parents().empty()) Disconnect(static_cast<Peer&>(*child.parents().back()), child);
  while (!child.helpers_.empty()) DisconnectHelper(*child.helpers_.back(), child);
}

void Task::DropChildren(Peer& parent) {
  while (!parent.helped_.empty()) DisconnectHelper(parent, *parent.helped_.back());
  while (!parent.children().empty()) {
    Peer& child = static_cast<Peer&>(*parent.children().back());
    Disconnect(parent, child);
    if (child.parents().empty() && !child.helpers_.empty()) orphans_.push_back(&child);
  }
}

void Task::WidenAt(Peer& peer, TimePoint when) {
  if (peer.widen_at_ != kNoDeadline) widenings_.erase({peer.widen_at_, &peer});
  peer.widen_at_ = when;
  if (when != kNoDeadline) widenings_.emplace(when, &peer);
}

Peer& Task::TakeWidening() {
  Peer& peer = *widenings_.begin()->second;
  widenings_.erase(widenings_.begin());
  peer.widen_at_ = kNoDeadline;
  return peer;
}

void Task::SwapParents(size_t a, size_t b) {
  std::swap(parents_[a], parents_[b]);
  parents_[a]->parent_index_ = static_cast<int32_t>(a);
  parents_[b]->parent_index_ = static_cast<int32_t>(b);
}

bool Task::CanServe(const Peer& peer) {
  return !peer.lost() && (peer.state() == PeerState::kRunning || peer.state() == PeerState::kBackToSource ||
                          peer.state() == PeerState::kSucceeded);
}

void Task::UpdateParentList(Peer& peer) {
  const bool complete = peer.state_ == PeerState::kSucceeded && !peer.host_facts().seed();
  if (complete != std::exchange(peer.counted_complete_, complete)) complete ? ++complete_count_ : --complete_count_;
  const bool listed = peer.parent_index_ >= 0;
  if (CanServe(peer) == listed) {
    // Its new state may make it good for a waiter all the same (Running to Succeeded).
    AddNews(peer);
    return;
  }
  if (!listed) {
    peer.parent_index_ = static_cast<int32_t>(parents_.size());
    parents_.push_back(&peer);
    AddNews(peer);
    return;
  }
  SwapParents(static_cast<size_t>(peer.parent_index_), parents_.size() - 1);
  parents_.pop_back();
  peer.parent_index_ = -1;
  std::erase(news_, &peer);
}

void Task::AddSource(Peer& peer, TimePoint now) {
  const auto at =
      std::find_if(sources_.begin(), sources_.end(), [&](const SourceWorker& s) { return s.peer == &peer; });
  if (at == sources_.end()) {
    sources_.push_back({&peer, now});
  } else {
    at->progress_at = now;
  }
}

void Task::RemoveSource(Peer& peer) {
  std::erase_if(sources_, [&](const SourceWorker& s) { return s.peer == &peer; });
}

void Task::NoteSourceProgress(Peer& peer, TimePoint now) {
  for (SourceWorker& source : sources_) {
    if (source.peer == &peer) source.progress_at = now;
  }
  source_failures = 0;
}

}  // namespace dragonfly::scheduler
