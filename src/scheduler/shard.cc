// SPDX-License-Identifier: Apache-2.0
#include "scheduler/shard.h"

#include <algorithm>

#include "base/status.h"
#include "base/text.h"
#include "telemetry/log.h"

namespace dragonfly::scheduler {
namespace {

absl::Status PeerNotFound(std::string_view peer_id) {
  return absl::NotFoundError(StrCat("peer ", peer_id, " not found"));
}

// In the measure of Dispatcher::AddWork().
constexpr uint64_t kWorkOfRemoval = 50;

bool IsEnded(const Peer& peer) {
  return peer.state() == PeerState::kSucceeded || peer.state() == PeerState::kFailed ||
         peer.state() == PeerState::kLeave;
}

}  // namespace

Shard::Shard(const ShardOptions& options, HostTable& hosts, const Evaluator& evaluator, SeedLauncher& seeds)
    : options_(options), hosts_(hosts), dispatcher_(options.dispatch, evaluator, hosts, seeds) {}

Shard::~Shard() = default;

absl::StatusOr<Peer*> Shard::Find(const PeerAddress& who) const {
  const auto task = tasks_.find(ToAbsl(who.task_id));
  Peer* peer = task == tasks_.end() ? nullptr : task->second->Find(who.peer_id);
  if (peer == nullptr) return PeerNotFound(who.peer_id);
  return peer;
}

absl::StatusOr<HostSlot*> Shard::SlotOf(std::string_view host_id, TimePoint now) {
  std::shared_ptr<Host> host = hosts_.Find(host_id);
  if (host == nullptr) return absl::NotFoundError(StrCat("host ", host_id, " not found"));
  auto at = slots_.find(ToAbsl(host_id));
  if (at != slots_.end() && at->second->host != host) {
    // It was deleted and has come back before this shard heard of it.
    Leave(host_id, now);
    at = slots_.end();
  }
  if (at == slots_.end()) {
    auto slot = std::make_unique<HostSlot>();
    slot->facts = host->facts();
    slot->host = std::move(host);
    at = slots_.emplace(std::string(host_id), std::move(slot)).first;
  }
  return at->second.get();
}

Task& Shard::TaskOf(std::string_view task_id, TaskAbout about, TimePoint now) {
  const auto at = tasks_.find(ToAbsl(task_id));
  if (at != tasks_.end()) {
    at->second->UpdateUrl(std::move(about.url), std::move(about.filtered_query_params));
    return *at->second;
  }
  auto task = std::make_unique<Task>(std::string(task_id), std::move(about), now);
  return *tasks_.emplace(std::string(task_id), std::move(task)).first->second;
}

absl::StatusOr<Peer*> Shard::PeerOf(Task& task, const PeerAddress& who, TimePoint now) {
  DF_ASSIGN_OR_RETURN(HostSlot* const slot, SlotOf(who.host_id, now));
  Peer* peer = task.Find(who.peer_id);
  if (peer != nullptr && (IsEnded(*peer) || &peer->slot() != slot)) {
    Remove(*peer, now);
    peer = nullptr;
  }
  if (peer != nullptr) {
    // The same download on a new stream: the old one gets nothing any more.
    Unlose(*peer);
    if (peer->stream != nullptr) {
      std::exchange(peer->stream, nullptr)
          ->Finish(absl::AbortedError(StrCat("peer ", who.peer_id, " has registered again")));
    }
    task.Restart(*peer, now);
    return peer;
  }
  peer = &task.Add(std::string(who.peer_id), *slot, now);
  peer->shard_index_ = peers_.size();
  peers_.push_back(peer);
  return peer;
}

absl::Status Shard::Register(const PeerAddress& who, Registration registration, TimePoint now) {
  dispatcher_.StartStep();
  // Before the task is made: an unknown host leaves nothing behind.
  DF_RETURN_IF_ERROR(SlotOf(who.host_id, now).status());
  Task& task = TaskOf(who.task_id, std::move(registration.about), now);
  const absl::StatusOr<Peer*> found = PeerOf(task, who, now);
  if (!found.ok()) {
    if (task.peers().empty()) empty_tasks_.insert(&task);
    return found.status();
  }
  Peer* const peer = *found;
  peer->priority = registration.priority;
  peer->range = registration.range;
  peer->need_back_to_source = registration.need_back_to_source;
  peer->takes_more_parents = registration.takes_more_parents;
  peer->stream = std::move(registration.stream);
  if (registration.content_length.has_value()) task.LearnContentLength(*registration.content_length);
  if (registration.piece_length.has_value()) task.LearnPieceLength(*registration.piece_length);
  if (registration.piece_count.has_value()) task.LearnPieceCount(*registration.piece_count);

  const bool empty = task.content_length() == uint64_t{0};
  if (!empty && !registration.metadata_only) {
    DF_RETURN_IF_ERROR(OrFail(*peer, Origin::kPeers, now, dispatcher_.Activate(*peer, registration.download, now)));
  }
  if (task.state() == TaskState::kRunning) {
    task.updated_at = now;
  } else {
    DF_RETURN_IF_ERROR(OrFail(*peer, Origin::kPeers, now, task.Fire(TaskEvent::kDownload, now)));
  }
  DF_RETURN_IF_ERROR(OrFail(*peer, Origin::kPeers, now,
                            task.Fire(*peer, empty ? PeerEvent::kRegisterEmpty : PeerEvent::kRegisterNormal, now)));
  if (registration.metadata_only) {
    peer->stream->SendMetadataOnly();
  } else if (empty) {
    peer->stream->SendEmpty();
  } else {
    dispatcher_.Ask(*peer, now);
  }
  dispatcher_.Settle(task, now);
  return absl::OkStatus();
}

absl::Status Shard::Started(const PeerAddress& who, TimePoint now) {
  dispatcher_.StartStep();
  DF_ASSIGN_OR_RETURN(Peer* const peer, Find(who));
  if (peer->state() != PeerState::kRunning) {
    DF_RETURN_IF_ERROR(OrFail(*peer, Origin::kPeers, now, peer->task().Fire(*peer, PeerEvent::kDownload, now)));
  }
  dispatcher_.Settle(peer->task(), now);
  return absl::OkStatus();
}

absl::Status Shard::BackToSourceStarted(const PeerAddress& who, TimePoint now) {
  dispatcher_.StartStep();
  DF_ASSIGN_OR_RETURN(Peer* const peer, Find(who));
  Task& task = peer->task();
  if (peer->state() != PeerState::kBackToSource) {
    DF_RETURN_IF_ERROR(OrFail(*peer, Origin::kSource, now, task.Fire(*peer, PeerEvent::kDownloadBackToSource, now)));
  }
  dispatcher_.Settle(task, now);
  return absl::OkStatus();
}

absl::Status Shard::Reschedule(const PeerAddress& who, std::span<const std::string> tried, TimePoint now) {
  dispatcher_.StartStep();
  DF_ASSIGN_OR_RETURN(Peer* const peer, Find(who));
  if (peer->stream == nullptr) {
    // The peer has ended, or its stream has broken.
    return absl::FailedPreconditionError("load stream failed");
  }
  for (const std::string& parent_id : tried) peer->Block(parent_id);
  peer->updated_at = now;
  dispatcher_.Ask(*peer, now);
  dispatcher_.Settle(peer->task(), now);
  return absl::OkStatus();
}

absl::Status Shard::Finished(const PeerAddress& who, Origin origin, uint64_t content_length, uint64_t piece_count,
                             TimePoint now) {
  dispatcher_.StartStep();
  DF_ASSIGN_OR_RETURN(Peer* const peer, Find(who));
  Task& task = peer->task();
  peer->cost = now - peer->created_at;
  DF_RETURN_IF_ERROR(OrFail(*peer, origin, now, task.Fire(*peer, PeerEvent::kDownloadSucceeded, now)));
  peer->stream.reset();
  if (!peer->range.has_value()) {
    // Zero is what newer clients send for "see the registration", never an empty file.
    if (content_length > 0) task.LearnContentLength(content_length);
    if (piece_count > 0 && task.piece_count() == 0) task.LearnPieceCount(piece_count);
    if (task.content_length().has_value() && task.state() != TaskState::kSucceeded) {
      DF_RETURN_IF_ERROR(task.Fire(TaskEvent::kDownloadSucceeded, now));
    }
  }
  dispatcher_.Settle(task, now);
  return absl::OkStatus();
}

absl::Status Shard::Failed(const PeerAddress& who, Origin origin, TimePoint now) {
  dispatcher_.StartStep();
  DF_ASSIGN_OR_RETURN(Peer* const peer, Find(who));
  return Fail(*peer, origin, now);
}

absl::Status Shard::Fail(Peer& peer, Origin origin, TimePoint now) {
  Task& task = peer.task();
  const bool was_source = peer.state() == PeerState::kBackToSource;
  DF_RETURN_IF_ERROR(task.Fire(peer, PeerEvent::kDownloadFailed, now));
  Unlose(peer);
  peer.stream.reset();
  if (origin == Origin::kSource && !peer.range.has_value() && task.parent_count() == 0 &&
      task.state() == TaskState::kRunning) {
    // Nobody holds a byte: what the next reader of the origin finds may be another file.
    task.ForgetContent();
    DF_RETURN_IF_ERROR(task.Fire(TaskEvent::kDownloadFailed, now));
  }
  if (origin == Origin::kSource) {
    dispatcher_.SourceRefused(task, now);
  } else if (was_source) {
    dispatcher_.SourceGone(task, now);
  }
  dispatcher_.Settle(task, now);
  return absl::OkStatus();
}

absl::Status Shard::OrFail(Peer& peer, Origin origin, TimePoint now, absl::Status step) {
  if (!step.ok()) {
    const absl::Status failed = Fail(peer, origin, now);
    if (!failed.ok()) DF_LOG(Debug, "peer {}: {}", peer.id(), failed.ToString());
  }
  return step;
}

absl::StatusOr<PieceParties> Shard::PieceFinished(const PeerAddress& who, Origin origin, const PieceReport& piece,
                                                  TimePoint now) {
  dispatcher_.StartStep();
  DF_ASSIGN_OR_RETURN(Peer* const peer, Find(who));
  Task& task = peer->task();
  if (task.Excludes(piece.number)) {
    return absl::InvalidArgumentError(
        StrCat("piece ", piece.number.value(), " of task ", who.task_id, " cannot exist"));
  }
  peer->updated_at = peer->piece_updated_at = task.updated_at = now;
  peer->host().Touch(now);
  const bool is_new = !IsEnded(*peer) && task.AddPiece(*peer, piece.number);
  task.LearnFromPiece(piece.number, piece.offset, piece.length);
  if (options_.cost_source == CostSource::kItself) {
    peer->costs.Add(piece.cost);
    peer->costs_at = now;
  }
  Peer* const parent = origin == Origin::kSource || piece.parent_id.empty() ? nullptr : task.Find(piece.parent_id);
  if (origin == Origin::kSource) {
    if (is_new) task.NoteSourceProgress(*peer, now);
  } else if (parent != nullptr) {
    parent->updated_at = now;
    parent->host().Touch(now);
    parent->host().CountUpload(true);
    if (options_.cost_source == CostSource::kChildren) {
      parent->costs.Add(piece.cost);
      parent->costs_at = now;
    }
  }
  dispatcher_.Settle(task, now);
  return PieceParties{peer, parent};
}

absl::Status Shard::PieceFailed(const PeerAddress& who, std::string_view parent_id, bool temporary, TimePoint now) {
  if (!temporary) return absl::FailedPreconditionError("download piece failed");
  DF_ASSIGN_OR_RETURN(Peer* const peer, Find(who));
  peer->updated_at = peer->task().updated_at = now;
  peer->Block(parent_id);
  Peer* const parent = peer->task().Find(parent_id);
  if (parent != nullptr) parent->host().CountUpload(false);
  return absl::OkStatus();
}

absl::Status Shard::PieceFromSourceFailed(const PeerAddress& who, TimePoint now) {
  DF_ASSIGN_OR_RETURN(Peer* const peer, Find(who));
  peer->updated_at = peer->task().updated_at = now;
  return absl::InternalError("download piece from source failed");
}

void Shard::StreamEnded(const PeerAddress& who, const PeerStream* stream, TimePoint now) {
  dispatcher_.StartStep();
  const absl::StatusOr<Peer*> found = Find(who);
  if (!found.ok() || (*found)->stream.get() != stream) return;
  Peer& peer = **found;
  peer.stream.reset();
  if (IsEnded(peer)) return;
  Task& task = peer.task();
  task.waiters().Remove(peer);
  task.SetLost(peer, now);
  lost_.emplace(now, &peer);
  // Its children will come; when it was the one that read the origin, they have nobody left.
  dispatcher_.SourceGone(task, now);
  dispatcher_.Settle(task, now);
}

void Shard::Unlose(Peer& peer) {
  if (!peer.lost()) return;
  lost_.erase({*peer.lost_at, &peer});
  peer.task().SetLost(peer, std::nullopt);
}

void Shard::SeedProgress(std::string_view task_id, uint64_t trigger_id, std::optional<uint64_t> content_length,
                         TimePoint now) {
  dispatcher_.StartStep();
  const auto at = tasks_.find(ToAbsl(task_id));
  if (at == tasks_.end() || at->second->trigger().id != trigger_id) return;
  Task& task = *at->second;
  if (content_length.has_value() && !task.content_length().has_value()) task.LearnContentLength(*content_length);
  dispatcher_.SeedProgress(task, trigger_id, now);
  dispatcher_.Settle(task, now);
}

void Shard::SeedEnded(std::string_view task_id, uint64_t trigger_id, const absl::Status& status,
                      const std::optional<SeedPeer>& served_as, TimePoint now) {
  dispatcher_.StartStep();
  const auto at = tasks_.find(ToAbsl(task_id));
  if (at == tasks_.end() || at->second->trigger().id != trigger_id) return;
  Task& task = *at->second;
  const std::string host_id = task.trigger().host_id;
  if (status.ok() && served_as.has_value() && task.Find(served_as->peer_id) == nullptr) {
    const absl::Status added = [&]() -> absl::Status {
      DF_ASSIGN_OR_RETURN(Peer* const peer, PeerOf(task, {host_id, task_id, served_as->peer_id}, now));
      peer->range = served_as->range;
      DF_RETURN_IF_ERROR(task.Fire(*peer, PeerEvent::kRegisterNormal, now));
      return task.Fire(*peer, PeerEvent::kDownloadSucceeded, now);
    }();
    if (!added.ok()) DF_LOG(Info, "task {}: seed {}: {}", task_id, host_id, added.ToString());
  }
  dispatcher_.SeedEnded(task, trigger_id, status, now);
  if (task.peers().empty()) empty_tasks_.insert(&task);
  dispatcher_.Settle(task, now);
}

const Task* Shard::FindTask(std::string_view task_id) const {
  const auto at = tasks_.find(ToAbsl(task_id));
  return at == tasks_.end() ? nullptr : at->second.get();
}

const Peer* Shard::FindPeer(std::string_view task_id, std::string_view peer_id) const {
  const Task* task = FindTask(task_id);
  return task == nullptr ? nullptr : task->Find(peer_id);
}

void Shard::Remove(Peer& peer, TimePoint now) {
  Task& task = peer.task();
  Unlose(peer);
  const bool was_source = peer.state() == PeerState::kBackToSource;
  const bool waited = peer.waiting();
  dispatcher_.SeedGone(task, peer.host().id());
  const std::shared_ptr<PeerStream> stream = std::move(peer.stream);
  Peer*& last = peers_.back();
  last->shard_index_ = peer.shard_index_;
  peers_[peer.shard_index_] = last;
  peers_.pop_back();
  HostSlot& slot = peer.slot();
  task.Remove(peer);
  if (task.peers().empty()) empty_tasks_.insert(&task);
  if (slot.peers.empty()) empty_slots_.insert(&slot);
  dispatcher_.AddWork(kWorkOfRemoval);
  // One that waits would wait for ever.
  if (waited && stream != nullptr) stream->Finish(absl::AbortedError("peer has left"));
  if (was_source) dispatcher_.SourceGone(task, now);
  dispatcher_.Settle(task, now);
}

bool Shard::DeletePeer(std::string_view task_id, std::string_view peer_id, TimePoint now) {
  dispatcher_.StartStep();
  const absl::StatusOr<Peer*> peer = Find({{}, task_id, peer_id});
  if (!peer.ok()) return false;
  Remove(**peer, now);
  return true;
}

void Shard::DeleteTask(std::string_view host_id, std::string_view task_id, TimePoint now) {
  dispatcher_.StartStep();
  const auto slot = slots_.find(ToAbsl(host_id));
  if (slot == slots_.end()) return;
  const std::vector<Peer*> peers = slot->second->peers;
  for (Peer* peer : peers) {
    if (peer->task().id() == task_id) Remove(*peer, now);
  }
}

void Shard::DeleteHost(std::string_view host_id, TimePoint now) {
  dispatcher_.StartStep();
  Leave(host_id, now);
  RemoveLeaving(now);
}

void Shard::Leave(std::string_view host_id, TimePoint now) {
  const auto at = slots_.find(ToAbsl(host_id));
  if (at == slots_.end()) return;
  empty_slots_.erase(at->second.get());
  leaving_.push_back(std::move(at->second));
  left_at_ = now;
  slots_.erase(at);
}

void Shard::RemoveLeaving(TimePoint now) {
  while (!leaving_.empty() && !dispatcher_.StepIsFull()) {
    const std::vector<Peer*>& peers = leaving_.back()->peers;
    while (!peers.empty() && !dispatcher_.StepIsFull()) Remove(*peers.back(), now);
    if (peers.empty()) {
      empty_slots_.erase(leaving_.back().get());
      leaving_.pop_back();
    }
  }
}

void Shard::UpdateHost(const std::shared_ptr<const HostFacts>& facts) {
  const auto slot = slots_.find(facts->id);
  if (slot != slots_.end()) slot->second->facts = facts;
}

bool Shard::IsExpired(const Peer& peer, TimePoint now) const {
  if (peer.state() == PeerState::kFailed || peer.state() == PeerState::kLeave) return true;
  if ((peer.state() == PeerState::kRunning || peer.state() == PeerState::kBackToSource) &&
      now - peer.piece_updated_at > options_.piece_download_timeout) {
    return true;
  }
  if (now - peer.updated_at > options_.peer_ttl) return true;
  if (now - peer.host().updated_at() > options_.host_ttl) return true;
  return peer.state() == PeerState::kSucceeded && peer.task().peers().size() > options_.peers_per_task &&
         peer.parents().empty() && peer.children().empty();
}

bool Shard::CollectPeers(TimePoint now, size_t max) {
  dispatcher_.StartStep();
  if (collected_ == 0) collected_ = peers_.size();
  // Downwards: what takes the place of a removed peer was looked at already.
  for (; collected_ > 0 && max > 0 && !dispatcher_.StepIsFull(); --collected_, --max) {
    if (collected_ > peers_.size()) continue;
    Peer& peer = *peers_[collected_ - 1];
    if (IsExpired(peer, now)) Remove(peer, now);
  }
  return collected_ == 0;
}

bool Shard::CollectTasks(size_t max) {
  for (; max > 0 && !empty_tasks_.empty(); --max) {
    Task& task = **empty_tasks_.begin();
    empty_tasks_.erase(empty_tasks_.begin());
    // When a seed was asked for it, its end brings it here again.
    if (!task.peers().empty() || task.trigger().pending) continue;
    dispatcher_.Forget(task);
    tasks_.erase(tasks_.find(task.id()));
  }
  for (; max > 0 && !empty_slots_.empty(); --max) {
    HostSlot& slot = **empty_slots_.begin();
    empty_slots_.erase(empty_slots_.begin());
    const auto at = slots_.find(slot.host->id());
    // One that is leaving is no longer there.
    if (slot.peers.empty() && at != slots_.end() && at->second.get() == &slot) slots_.erase(at);
  }
  return empty_tasks_.empty() && empty_slots_.empty();
}

TimePoint Shard::NextDeadline() const {
  const TimePoint grace_over = lost_.empty() ? kNoDeadline : lost_.begin()->first + options_.stream_grace;
  const TimePoint left = leaving_.empty() ? kNoDeadline : left_at_;
  return std::min({grace_over, left, dispatcher_.NextDeadline()});
}

void Shard::Tick(TimePoint now) {
  dispatcher_.StartStep();
  RemoveLeaving(now);
  while (!lost_.empty() && lost_.begin()->first + options_.stream_grace <= now && !dispatcher_.StepIsFull()) {
    dispatcher_.AddWork(kWorkOfRemoval);
    Peer& peer = *lost_.begin()->second;
    const absl::Status failed = Fail(peer, Origin::kPeers, now);
    if (!failed.ok()) Unlose(peer);
  }
  dispatcher_.Tick(now);
}

}  // namespace dragonfly::scheduler
