// SPDX-License-Identifier: Apache-2.0
#include "daemon/garbage_policy.h"

#include <algorithm>

namespace dragonfly::daemon {
namespace {

bool InUse(const GarbageCandidate& candidate, absl::Duration idle, absl::Time now) {
  return candidate.running || candidate.updated_at + idle > now;
}

// In floating point: a hundred times a large disk does not fit an integer.
double PartOf(uint64_t bytes, uint64_t percent) {
  return static_cast<double>(bytes) * static_cast<double>(percent) / 100;
}

// Takes candidates in order of last use until `wanted` bytes are free; returns how many that are.
template <typename MayGo, typename FreeBy>
double TakeOldest(std::vector<GarbageCandidate>& candidates, double wanted, MayGo may_go, FreeBy free_by,
                  std::vector<TaskId>& taken) {
  std::sort(candidates.begin(), candidates.end(),
            [](const GarbageCandidate& a, const GarbageCandidate& b) { return a.updated_at < b.updated_at; });
  double freed = 0;
  for (const GarbageCandidate& candidate : candidates) {
    if (freed >= wanted) break;
    if (!may_go(candidate)) continue;
    const uint64_t bytes = free_by(candidate);
    if (bytes == 0) continue;
    freed += static_cast<double>(bytes);
    taken.push_back(candidate.id);
  }
  return freed;
}

}  // namespace

bool TooFull(const DiskUse& use, const GarbagePolicy& policy) {
  return use.total_bytes > 0 && static_cast<double>(use.used_bytes) >= PartOf(use.total_bytes, policy.high_percent);
}

std::vector<TaskId> ExpiredTasks(const std::vector<GarbageCandidate>& candidates, const GarbagePolicy& policy,
                                 absl::Time now) {
  std::vector<TaskId> expired;
  for (const GarbageCandidate& candidate : candidates) {
    if (candidate.updated_at + policy.task_ttl < now && !InUse(candidate, policy.in_use, now)) {
      expired.push_back(candidate.id);
    }
  }
  return expired;
}

std::vector<TaskId> TasksOverBudget(std::vector<GarbageCandidate> candidates, const DiskUse& use,
                                    const GarbagePolicy& policy, absl::Time now) {
  std::vector<TaskId> evicted;
  if (!TooFull(use, policy)) return evicted;
  const double wanted = static_cast<double>(use.used_bytes) - PartOf(use.total_bytes, policy.low_percent);
  const auto may_go = [&](const GarbageCandidate& candidate) {
    const bool may_go_on = !candidate.complete && candidate.created_at + policy.unfinished > now;
    return !may_go_on && !InUse(candidate, policy.in_use, now);
  };
  TakeOldest(candidates, wanted, may_go, [](const GarbageCandidate& candidate) { return candidate.bytes; }, evicted);
  return evicted;
}

std::vector<TaskId> TasksToMakeRoom(std::vector<GarbageCandidate> candidates, uint64_t bytes,
                                    const GarbagePolicy& policy, absl::Time now,
                                    const std::function<uint64_t(const TaskId& id)>& free_by) {
  std::vector<TaskId> evicted;
  const auto wanted = static_cast<double>(bytes);
  const auto may_go = [&](const GarbageCandidate& candidate) { return !InUse(candidate, policy.just_used, now); };
  const auto measure = [&](const GarbageCandidate& candidate) { return free_by(candidate.id); };
  if (TakeOldest(candidates, wanted, may_go, measure, evicted) < wanted) evicted.clear();
  return evicted;
}

}  // namespace dragonfly::daemon
