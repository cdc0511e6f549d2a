// SPDX-License-Identifier: Apache-2.0
// Decides, for every peer that asks, whether it gets parents, is sent to the origin, or waits; and wakes those who
// wait.
#pragma once

#include <algorithm>
#include <chrono>
#include <cstdint>
#include <memory>
#include <set>
#include <string>
#include <utility>

#include "absl/status/status.h"
#include "scheduler/host_table.h"
#include "scheduler/parent_finder.h"
#include "scheduler/task.h"

namespace dragonfly::scheduler {

struct DispatchOptions {
  DispatchOptions() = default;
  ParentLimits limits;
  int back_to_source_count = 200;  // source workers of a task at once; negative: none
  int retry_back_to_source_limit =
      4;                // times retry_interval: how long a peer waits before the origin; negative: not at all
  int retry_limit = 5;  // times retry_interval: how long a peer waits that may not use the origin
  Clock::duration retry_interval = std::chrono::milliseconds(500);
  bool seeds_enabled = true;
  // A peer that may take more parents at any time is given helpers while it downloads: first after this time, then each
  // time after twice as long.
  struct Widening {
    Widening() = default;
    bool enabled = true;
    Clock::duration first = std::chrono::milliseconds(150);
    int times = 5;
    size_t step = 2;     // helpers added at a time ...
    size_t parents = 8;  // ... up to so many parents and helpers together
  };
  Widening widening;
  // So long a peer without a parent waits for one that is not full; then it gets a full one.
  Clock::duration full_wait = std::chrono::milliseconds(100);
  // When nothing can come that a peer could wait for, it waits this long for others in the same case: the one with the
  // most pieces is sent to the origin.
  Clock::duration gather = std::chrono::milliseconds(100);
  // A seed that could not be reached is left out this long.
  Clock::duration seed_retry_after = std::chrono::seconds(30);
  // A task that a seed has failed to download is not given to seeds again this long.
  Clock::duration seed_failure_window = std::chrono::minutes(30);

  // How long a peer waits before it is sent to the origin, when nothing moves.
  Clock::duration patience() const { return retry_interval * std::max(retry_back_to_source_limit, 0); }
};

// Asks a seed to fetch a task. The answer comes back as Dispatcher::SeedEnded() with the same trigger id, later and on
// the shard's thread.
struct SeedRequest {
  std::string task_id;
  uint64_t trigger_id = 0;
  std::shared_ptr<const HostFacts> seed;
  std::shared_ptr<const common::v2::Download> download;  // as the peer registered it
  telemetry::SpanContext trace;                          // of that peer's conversation
};
class SeedLauncher {
 public:
  virtual ~SeedLauncher() = default;
  virtual void Launch(SeedRequest request) = 0;
};

// The rules, beyond the original's (dragonfly v2.3.0, scheduler/scheduling/scheduling.go), whose intervals stay as
// limits:
//
// - A peer without a parent waits in its task, and is answered at the moment when a parent turns up: a peer that
// begins,
//   goes to the origin or succeeds, an upload slot that is freed, the file's length that becomes known.
// - The origin is read once: while a source worker (a peer that reads the origin, or a seed that was asked to) makes
//   progress, nobody else is sent there. Only when nothing has moved for patience() - five times that for a worker that
//   has begun - the next one goes, one at a time; that one is the waiter with the most pieces.
// - When the seed fails, one waiter goes at once. When the origin refuses a worker, the next ones go in groups of 1, 2,
// 4
//   ..., so that all hear of a file that does not exist without asking all at once.
//
// Thread rule: one per shard, on its thread. Never calls back into the shard.
class Dispatcher {
 public:
  // All must outlive the dispatcher.
  Dispatcher(const DispatchOptions& options, const Evaluator& evaluator, HostTable& hosts, SeedLauncher& seeds);

  // Decides who starts when a registering peer finds its task without anybody: a seed, or the peer itself.
  // Errors: NOT_FOUND, FAILED_PRECONDITION or INVALID_ARGUMENT by the peer's priority.
  absl::Status Activate(Peer& peer, const std::shared_ptr<const common::v2::Download>& download, TimePoint now);

  // Answers the peer, or lets it wait for an answer.
  void Ask(Peer& peer, TimePoint now);

  // To be called after every change of the task: answers the waiters for whom it brought a parent.
  void Settle(Task& task, TimePoint now);

  // A source worker has gone without having been refused (it has broken off or left).
  void SourceGone(Task& task, TimePoint now);
  // The host has left with its peer: what it was asked for as a seed will not come.
  void SeedGone(Task& task, std::string_view host_id);
  // The origin has refused a source worker.
  void SourceRefused(Task& task, TimePoint now);

  // The seed works on the task.
  void SeedProgress(Task& task, uint64_t trigger_id, TimePoint now);
  // The seed has ended the task, with OK or an error.
  void SeedEnded(Task& task, uint64_t trigger_id, const absl::Status& status, TimePoint now);

  // Before the task is destroyed.
  void Forget(Task& task);

  // When Tick() is due; kNoDeadline: not by the clock.
  TimePoint NextDeadline() const {
    return std::min(checks_.empty() ? kNoDeadline : checks_.begin()->first,
                    widenings_.empty() ? kNoDeadline : widenings_.begin()->first);
  }
  // Does a bounded part of what is due, so that nothing else waits long: NextDeadline() may be due again afterwards.
  void Tick(TimePoint now);

  // For decisions from now on.
  void SetLimits(ParentLimits limits) { finder_.SetLimits(limits); }

  // -- Long work is cut into steps of bounded work: StartStep(), and then work until StepIsFull().
  void StartStep() { step_began_ = finder_.work(); }
  // Work of the caller's own in this step: one for what takes 100 ns.
  void AddWork(uint64_t work) { finder_.AddWork(work); }
  bool StepIsFull() const { return finder_.work() - step_began_ >= kWorkOfStep; }

  // A peer may be sent to the origin.
  bool CanBackToSource(const Task& task) const;

 private:
  // `first`: as of ParentFinder::Find().
  bool TryParents(Peer& peer, TimePoint now, bool spare_full, const Peer* first = nullptr);
  // Whether a peer of `task` that has waited for `waited` goes on waiting for a parent that is not full.
  bool SparesFull(const Task& task, Clock::duration waited) const;
  // Notes when the task's next peer must be widened.
  void ArmWidening(Task& task);
  void ScheduleWidening(Peer& peer, TimePoint now);
  void Widen(Task& task, TimePoint now);
  // A peer that has lost its parents and goes on with its helpers.
  void Adopt(Peer& orphan, TimePoint now);
  void AdoptOrphans(Task& task, TimePoint now);
  // The children of a peer that has everything tell one another what they have, so that each asks it for other pieces.
  void Introduce(Peer& child, const std::vector<Peer*>& parents);
  void SendToSource(Peer& peer, std::string_view description, TimePoint now);
  void WakeFor(Peer& parent, TimePoint now);
  // Looks at the waiters, a bounded number of them at a time.
  void Check(Task& task, TimePoint now);
  void CheckOne(Peer& waiter, TimePoint now);
  // Arm() is for the waiters and does nothing without any.
  void Arm(Task& task, TimePoint when);
  void ArmAt(Task& task, TimePoint when);
  void Disarm(Task& task);
  bool IsActive(const Peer& peer) const;
  bool LaunchSeed(Task& task, TimePoint now);
  // Sends up to `count` waiters to the origin, those with the most pieces first.
  void SendWaiters(Task& task, int count, TimePoint now);

  // Until when a source worker lets the peer hope; the past when none does.
  TimePoint HopeUntil(const Peer& peer) const;
  // Whether any waiter can hope for anything.
  bool HasHope(const Task& task, TimePoint now) const;
  // Parents exist that may become free or good again.
  bool MayFindParents(Peer& peer, TimePoint now);
  struct Due {
    TimePoint when;
    bool fails;  // then, instead of going to the origin
  };
  Due DueOf(Peer& peer, TimePoint now);

  const DispatchOptions options_;
  const Evaluator& evaluator_;
  HostTable& hosts_;
  SeedLauncher& seeds_;
  ParentFinder finder_;
  static constexpr uint64_t kWorkOfStep = 10'000;  // peers looked at, one or two milliseconds
  uint64_t step_began_ = 0;
  uint64_t last_trigger_id_ = 0;
  std::set<std::pair<TimePoint, Task*>> checks_;
  std::set<std::pair<TimePoint, Task*>> widenings_;
};

}  // namespace dragonfly::scheduler
