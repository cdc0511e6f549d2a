// SPDX-License-Identifier: Apache-2.0
#include "scheduler/dispatcher.h"

#include <algorithm>
#include <vector>

#include "base/text.h"
#include "telemetry/log.h"

namespace dragonfly::scheduler {
namespace {

constexpr int kSeedAttemptsMax = 3;  // seeds tried one after another for one trigger
constexpr int kWorkerPatience = 5;   // times patience(), for a worker that has begun: a large piece of a slow origin
constexpr size_t kParentsLookedAt = 64;
constexpr size_t kWaitersLookedAt = 4096;  // of those that shall go to the origin, the first in the list
constexpr size_t kSiblingsMax = 7;
// In the measure of ParentFinder::work().
constexpr uint64_t kWorkOfMessage = 100;
constexpr uint64_t kWorkOfWaiter = 8;
constexpr int kRefusalsMax = 10;  // groups of 2^kRefusalsMax waiters at most

// Priority of common.v2: who is started for a task that nobody has.
enum Level : int32_t { kLevel0, kLevel1, kLevel2, kLevel3, kLevel4, kLevel5, kLevel6 };

bool IsReachFailure(const absl::Status& status) {
  return absl::IsUnavailable(status) || absl::IsDeadlineExceeded(status) || absl::IsResourceExhausted(status);
}

}  // namespace

Dispatcher::Dispatcher(const DispatchOptions& options, const Evaluator& evaluator, HostTable& hosts,
                       SeedLauncher& seeds)
    : options_(options), evaluator_(evaluator), hosts_(hosts), seeds_(seeds), finder_(evaluator, options.limits) {}

bool Dispatcher::CanBackToSource(const Task& task) const {
  return task.about().type != TaskType::kPersistentCache &&
         static_cast<int64_t>(task.sources().size()) < options_.back_to_source_count;
}

bool Dispatcher::IsActive(const Peer& peer) const {
  const Task& task = peer.task();
  if (task.trigger().pending) return true;
  for (const SourceWorker& source : task.sources()) {
    if (!source.peer->lost() && &source.peer->slot() != &peer.slot()) return true;
  }
  for (size_t i = 0; i < task.parent_count(); ++i) {
    const Peer& other = task.parent(i);
    if (&other.slot() != &peer.slot() && !other.host_facts().disable_shared) return true;
  }
  return false;
}

absl::Status Dispatcher::Activate(Peer& peer, const std::shared_ptr<const common::v2::Download>& download,
                                  TimePoint now) {
  Task& task = peer.task();
  if (peer.need_back_to_source || IsActive(peer)) return absl::OkStatus();
  if (peer.host_facts().seed()) {
    peer.need_back_to_source = true;
    return absl::OkStatus();
  }
  switch (peer.priority) {
    case kLevel0:
    case kLevel4:
    case kLevel5:
    case kLevel6:
      if (options_.seeds_enabled &&
          !(task.seed_failed_at.has_value() && now - *task.seed_failed_at < options_.seed_failure_window)) {
        task.trigger().download = download;
        task.trigger().trace = peer.stream == nullptr ? telemetry::SpanContext() : peer.stream->trace();
        task.trigger().attempts = 0;
        if (LaunchSeed(task, now)) return absl::OkStatus();
      }
      [[fallthrough]];
    case kLevel3:
      peer.need_back_to_source = true;
      return absl::OkStatus();
    case kLevel2:
      return absl::NotFoundError("LEVEL2 peer not found candidate peers");
    case kLevel1:
      return absl::FailedPreconditionError("LEVEL1 peer is forbidden");
    default:
      return absl::InvalidArgumentError(StrCat("invalid priority ", peer.priority));
  }
}

bool Dispatcher::LaunchSeed(Task& task, TimePoint now) {
  SeedTrigger& trigger = task.trigger();
  const std::vector<std::shared_ptr<Host>> seeds = hosts_.SeedsFor(task.id(), now);
  if (seeds.empty() || trigger.attempts >= kSeedAttemptsMax) {
    trigger.download.reset();
    return false;
  }
  ++trigger.attempts;
  trigger.id = ++last_trigger_id_;
  trigger.pending = true;
  trigger.host_id = seeds.front()->id();
  trigger.progress_at = now;
  DF_LOG(Debug, "task {}: asking seed {}", task.id(), trigger.host_id);
  seeds_.Launch({task.id(), trigger.id, seeds.front()->facts(), trigger.download, trigger.trace});
  return true;
}

void Dispatcher::Ask(Peer& peer, TimePoint now) {
  Task& task = peer.task();
  if (peer.state() != PeerState::kBackToSource) task.RemoveSource(peer);
  task.waiters().Remove(peer);
  if (CanBackToSource(task)) {
    if (peer.need_back_to_source) {
      SendToSource(peer, "peer's NeedBackToSource is true", now);
      return;
    }
    if (options_.retry_back_to_source_limit < 0) {
      SendToSource(peer, "scheduling exceeded RetryBackToSourceLimit", now);
      return;
    }
  }
  if (TryParents(peer, now, SparesFull(task, Clock::duration::zero()))) return;
  task.waiters().Add(peer, now);
  const bool spared = finder_.has_spared();
  Arm(task, std::min({DueOf(peer, now).when, now + (spared ? options_.full_wait : options_.retry_interval),
                      now + options_.retry_interval}));
}

// Who wants no more than one piece has it sooner than a parent that is not full.
bool Dispatcher::SparesFull(const Task& task, Clock::duration waited) const {
  const bool one_piece = task.content_length().has_value() && *task.content_length() <= kPieceLengthMin;
  return !one_piece && waited < options_.full_wait;
}

bool Dispatcher::TryParents(Peer& peer, TimePoint now, bool spare_full, const Peer* first) {
  Task& task = peer.task();
  task.DropParents(peer);
  std::vector<Peer*> parents = finder_.Find(peer, now, spare_full, first);
  // Another shard may have taken a slot since the test: only parents with an edge are told.
  std::erase_if(parents, [&](Peer* parent) { return !task.Connect(*parent, peer); });
  if (parents.empty()) return false;
  task.waiters().Remove(peer);
  peer.stream->SendParents(peer, parents);
  finder_.AddWork(kWorkOfMessage);
  peer.widenings_ = 0;
  ScheduleWidening(peer, now);
  Introduce(peer, parents);
  return true;
}

void Dispatcher::Introduce(Peer& child, const std::vector<Peer*>& parents) {
  if (!options_.widening.enabled || !child.takes_more_parents) return;
  Task& task = child.task();
  std::vector<Peer*> siblings;
  for (Peer* parent : parents) {
    if (!parent->parents().empty()) continue;
    // The latest first: each has so many before it and as many behind it.
    for (auto node = parent->children().rbegin(); node != parent->children().rend(); ++node) {
      Peer& sibling = static_cast<Peer&>(**node);
      if (&sibling == &child || siblings.size() >= kSiblingsMax || sibling.state() != PeerState::kRunning ||
          sibling.lost() || sibling.stream == nullptr || evaluator_.IsFull(sibling) || AreApart(sibling, child) ||
          std::find(siblings.begin(), siblings.end(), &sibling) != siblings.end()) {
        continue;
      }
      siblings.push_back(&sibling);
    }
  }
  const auto connect = [&](Peer& helper, Peer& helped) {
    return helped.takes_more_parents && !ParentGraph::HasEdge(helper, helped) && !Task::IsHelper(helper, helped) &&
           task.ConnectHelper(helper, helped);
  };
  std::vector<Peer*> taken;
  for (Peer* sibling : siblings) {
    if (connect(*sibling, child)) taken.push_back(sibling);
    Peer* const self = &child;
    if (connect(child, *sibling)) sibling->stream->SendMoreParents(*sibling, {&self, 1});
  }
  finder_.AddWork(kWorkOfMessage * siblings.size());
  if (!taken.empty()) child.stream->SendMoreParents(child, taken);
}

void Dispatcher::ScheduleWidening(Peer& peer, TimePoint now) {
  const DispatchOptions::Widening& widening = options_.widening;
  if (!widening.enabled || !peer.takes_more_parents || peer.widenings_ >= widening.times) return;
  peer.task().WidenAt(peer, now + widening.first * (1 << peer.widenings_));
  ++peer.widenings_;
  ArmWidening(peer.task());
}

void Dispatcher::ArmWidening(Task& task) {
  const TimePoint when = task.NextWidening();
  if (when == task.widen_at) return;
  if (task.widen_at != kNoDeadline) widenings_.erase({task.widen_at, &task});
  task.widen_at = when;
  if (when != kNoDeadline) widenings_.emplace(when, &task);
}

void Dispatcher::Widen(Task& task, TimePoint now) {
  while (task.NextWidening() <= now && !StepIsFull()) {
    Peer& peer = task.TakeWidening();
    if (peer.lost() || peer.stream == nullptr || peer.waiting()) continue;
    const size_t have = peer.parents().size() + peer.helpers().size();
    const size_t lacking = options_.widening.parents - std::min(have, options_.widening.parents);
    std::vector<Peer*> more = finder_.FindMore(peer, now, std::min(lacking, options_.widening.step));
    std::erase_if(more, [&](Peer* helper) { return !task.ConnectHelper(*helper, peer); });
    if (!more.empty()) {
      peer.stream->SendMoreParents(peer, more);
      finder_.AddWork(kWorkOfMessage);
    }
    ScheduleWidening(peer, now);
  }
  ArmWidening(task);
}

void Dispatcher::Adopt(Peer& orphan, TimePoint now) {
  Task& task = orphan.task();
  if (!orphan.parents().empty() || orphan.waiting() || orphan.lost() || orphan.stream == nullptr) return;
  std::vector<Peer*> parents = finder_.Find(orphan, now);
  std::erase_if(parents, [&](Peer* parent) { return !task.Connect(*parent, orphan); });
  if (parents.empty()) return;
  orphan.stream->SendMoreParents(orphan, parents);
  finder_.AddWork(kWorkOfMessage);
}

void Dispatcher::AdoptOrphans(Task& task, TimePoint now) {
  while (task.has_orphans() && !StepIsFull()) Adopt(task.TakeOrphan(), now);
}

void Dispatcher::SendToSource(Peer& peer, std::string_view description, TimePoint now) {
  Task& task = peer.task();
  task.waiters().Remove(peer);
  task.DropParents(peer);
  task.AddSource(peer, now);
  peer.stream->SendBackToSource(description);
}

void Dispatcher::Settle(Task& task, TimePoint now) {
  while (task.has_news() || task.has_orphans()) {
    if (StepIsFull()) {
      // Everybody is looked at instead, in steps of their own.
      task.ForgetNews();
      ArmAt(task, now);
      return;
    }
    for (Peer* parent : task.TakeNews()) {
      if (!task.waiters().empty()) WakeFor(*parent, now);
    }
    AdoptOrphans(task, now);
  }
}

void Dispatcher::WakeFor(Peer& parent, TimePoint now) {
  Task& task = parent.task();
  for (Peer* waiter = task.waiters().first(); waiter != nullptr && parent.FreeUploadSlots() > 0;) {
    if (StepIsFull()) {
      Arm(task, now);
      return;
    }
    Peer* const next = WaitList::Next(*waiter);
    finder_.Prepare(*waiter);
    const bool spare_full = SparesFull(task, now - WaitList::Since(*waiter));
    if (!(spare_full && evaluator_.IsBusy(parent, *waiter)) && finder_.Test(parent, *waiter, now) == Refusal::kNone) {
      TryParents(*waiter, now, spare_full, &parent);
    }
    waiter = next;
  }
}

TimePoint Dispatcher::HopeUntil(const Peer& peer) const {
  const Task& task = peer.task();
  const Clock::duration patience = options_.patience();
  TimePoint hope = TimePoint::min();
  bool seed_has_come = false;
  for (const SourceWorker& source : task.sources()) {
    if (source.peer->host().id() == task.trigger().host_id) seed_has_come = true;
    if (source.peer == &peer || source.peer->lost() || &source.peer->slot() == &peer.slot() ||
        peer.Blocks(source.peer->id())) {
      continue;
    }
    const int times = source.peer->state() == PeerState::kBackToSource ? kWorkerPatience : 1;
    hope = std::max(hope, source.progress_at + times * patience);
  }
  if (task.trigger().pending && !seed_has_come) hope = std::max(hope, task.trigger().progress_at + patience);
  return hope;
}

bool Dispatcher::MayFindParents(Peer& peer, TimePoint now) {
  const Task& task = peer.task();
  finder_.Prepare(peer);
  const size_t count = std::min(task.parent_count(), kParentsLookedAt);
  for (size_t i = 0; i < count; ++i) {
    const Refusal refusal = finder_.Test(task.parent(i), peer, now);
    if (refusal == Refusal::kNone || refusal == Refusal::kNoSlot || refusal == Refusal::kSlow) return true;
  }
  return false;
}

Dispatcher::Due Dispatcher::DueOf(Peer& peer, TimePoint now) {
  const TimePoint since = WaitList::Since(peer);
  const TimePoint hope = HopeUntil(peer);
  if (!CanBackToSource(peer.task()) || options_.retry_limit < options_.retry_back_to_source_limit) {
    return {std::max(hope, since + options_.retry_interval * options_.retry_limit), true};
  }
  const TimePoint limit = since + options_.patience();
  if (hope > limit) return {hope, false};
  if (hope <= now && !MayFindParents(peer, now)) return {std::min(limit, since + options_.gather), false};
  return {limit, false};
}

void Dispatcher::CheckOne(Peer& waiter, TimePoint now) {
  Task& task = waiter.task();
  finder_.AddWork(kWorkOfWaiter + task.sources().size() / 4);
  // Slots of a host may have been freed by other tasks, which nobody reports.
  if (TryParents(waiter, now, SparesFull(task, now - WaitList::Since(waiter)))) return;
  const Due due = DueOf(waiter, now);
  const TimePoint not_full = WaitList::Since(waiter) + options_.full_wait;
  if (not_full > now) task.check_next_due = std::min(task.check_next_due, not_full);
  if (due.when > now) {
    task.check_next_due = std::min(task.check_next_due, due.when);
  } else if (due.fails) {
    const std::shared_ptr<PeerStream> stream = std::move(waiter.stream);
    // A waiter's state allows it; the event also takes it off the list.
    task.Fire(waiter, PeerEvent::kDownloadFailed, now).IgnoreError();
    stream->Finish(absl::FailedPreconditionError("scheduling exceeded RetryLimit"));
  } else {
    task.check_source_due = true;
  }
}

void Dispatcher::Check(Task& task, TimePoint now) {
  WaitList& waiters = task.waiters();
  AdoptOrphans(task, now);
  if (task.has_orphans()) {
    ArmAt(task, now);
    return;
  }
  if (!waiters.walking()) {
    waiters.StartWalk();
    task.check_next_due = kNoDeadline;
    task.check_source_due = false;
  }
  while (waiters.walking()) {
    if (StepIsFull()) {
      Arm(task, now);
      return;
    }
    CheckOne(*waiters.NextOfWalk(), now);
  }
  if (task.check_source_due) SendWaiters(task, 1, now);
  if (waiters.empty()) return;
  // Whoever was due beside the one that was sent now has that one to hope for, and is asked again.
  Arm(task, std::min(task.check_next_due, now + (task.check_source_due ? options_.gather : options_.retry_interval)));
}

bool Dispatcher::HasHope(const Task& task, TimePoint now) const {
  const Clock::duration most = kWorkerPatience * options_.patience();
  return (task.trigger().pending && task.trigger().progress_at + options_.patience() > now) ||
         std::any_of(task.sources().begin(), task.sources().end(),
                     [&](const SourceWorker& source) { return source.progress_at + most > now; });
}

void Dispatcher::SendWaiters(Task& task, int count, TimePoint now) {
  struct Hopeless {
    uint32_t pieces;
    size_t place;  // in the wait list
    Peer* peer;
  };
  std::vector<Hopeless> hopeless;
  const bool hope = HasHope(task, now);
  size_t looked_at = 0;
  for (Peer* waiter = task.waiters().first(); waiter != nullptr && looked_at < kWaitersLookedAt;
       waiter = WaitList::Next(*waiter), ++looked_at) {
    if (!hope || HopeUntil(*waiter) <= now) hopeless.push_back({waiter->pieces.count(), hopeless.size(), waiter});
  }
  const auto sent = std::min(hopeless.size(), static_cast<size_t>(count));
  std::partial_sort(hopeless.begin(), hopeless.begin() + static_cast<std::ptrdiff_t>(sent), hopeless.end(),
                    [](const Hopeless& a, const Hopeless& b) {
                      return a.pieces != b.pieces ? a.pieces > b.pieces : a.place < b.place;
                    });
  for (size_t i = 0; i < sent && CanBackToSource(task); ++i) {
    SendToSource(*hopeless[i].peer, "scheduling exceeded RetryBackToSourceLimit", now);
  }
}

void Dispatcher::SourceGone(Task& task, TimePoint now) { Arm(task, now + options_.gather); }

void Dispatcher::SeedGone(Task& task, std::string_view host_id) {
  SeedTrigger& trigger = task.trigger();
  if (!trigger.pending || trigger.host_id != host_id) return;
  trigger.pending = false;
  trigger.download.reset();
}

void Dispatcher::SourceRefused(Task& task, TimePoint now) {
  task.source_failures = std::min(task.source_failures + 1, kRefusalsMax);
  const bool others = std::any_of(task.sources().begin(), task.sources().end(),
                                  [](const SourceWorker& source) { return !source.peer->lost(); });
  if (!others) SendWaiters(task, 1 << (task.source_failures - 1), now);
}

void Dispatcher::SeedProgress(Task& task, uint64_t trigger_id, TimePoint now) {
  if (task.trigger().id == trigger_id) task.trigger().progress_at = now;
}

void Dispatcher::SeedEnded(Task& task, uint64_t trigger_id, const absl::Status& status, TimePoint now) {
  SeedTrigger& trigger = task.trigger();
  if (trigger.id != trigger_id || !trigger.pending) return;
  trigger.pending = false;
  if (status.ok()) {
    trigger.download.reset();
    // The waiters have what the seed has brought, or nothing to hope for.
    Arm(task, now);
    return;
  }
  DF_LOG(Warn, "task {}: seed {}: {}", task.id(), trigger.host_id, status.ToString());
  const bool unreachable = IsReachFailure(status);
  if (unreachable) {
    hosts_.SkipSeed(trigger.host_id, now + options_.seed_retry_after);
  } else {
    task.seed_failed_at = now;
  }
  const bool others = std::any_of(task.sources().begin(), task.sources().end(),
                                  [](const SourceWorker& source) { return !source.peer->lost(); });
  if (others) {
    // The seed's own peer reports for itself, or somebody else has taken over.
    trigger.download.reset();
    return;
  }
  if (unreachable && LaunchSeed(task, now)) return;
  trigger.download.reset();
  if (task.parent_count() > 0) {
    // The seed has died half-way: its children come one by one, and the fullest of them shall go on.
    Arm(task, now + options_.gather);
    return;
  }
  SendWaiters(task, 1, now);
}

void Dispatcher::Arm(Task& task, TimePoint when) {
  if (!task.waiters().empty()) ArmAt(task, when);
}

void Dispatcher::ArmAt(Task& task, TimePoint when) {
  if (when >= task.check_at) return;
  Disarm(task);
  task.check_at = when;
  checks_.emplace(when, &task);
}

void Dispatcher::Forget(Task& task) {
  Disarm(task);
  if (task.widen_at != kNoDeadline) widenings_.erase({task.widen_at, &task});
  task.widen_at = kNoDeadline;
}

void Dispatcher::Disarm(Task& task) {
  if (task.check_at == kNoDeadline) return;
  checks_.erase({task.check_at, &task});
  task.check_at = kNoDeadline;
}

void Dispatcher::Tick(TimePoint now) {
  while (!checks_.empty() && checks_.begin()->first <= now && !StepIsFull()) {
    Task& task = *checks_.begin()->second;
    Disarm(task);
    Check(task, now);
  }
  while (!widenings_.empty() && widenings_.begin()->first <= now && !StepIsFull()) {
    Widen(*widenings_.begin()->second, now);
  }
}

}  // namespace dragonfly::scheduler
