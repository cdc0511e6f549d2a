// SPDX-License-Identifier: Apache-2.0
#include "daemon/garbage_policy.h"

#include <algorithm>

namespace dragonfly::daemon {
namespace {

bool InUse(const GarbageCandidate& candidate, const GarbagePolicy& policy, absl::Time now) {
  return candidate.running || candidate.updated_at + policy.in_use > now;
}

// In floating point: a hundred times a large disk does not fit an integer.
double PartOf(uint64_t bytes, uint64_t percent) {
  return static_cast<double>(bytes) * static_cast<double>(percent) / 100;
}

}  // namespace

bool TooFull(const DiskUse& use, const GarbagePolicy& policy) {
  return use.total_bytes > 0 && static_cast<double>(use.used_bytes) >= PartOf(use.total_bytes, policy.high_percent);
}

std::vector<TaskId> ExpiredTasks(const std::vector<GarbageCandidate>& candidates, const GarbagePolicy& policy,
                                 absl::Time now) {
  std::vector<TaskId> expired;
  for (const GarbageCandidate& candidate : candidates) {
    if (candidate.updated_at + policy.task_ttl < now && !InUse(candidate, policy, now)) expired.push_back(candidate.id);
  }
  return expired;
}

std::vector<TaskId> TasksOverBudget(std::vector<GarbageCandidate> candidates, const DiskUse& use,
                                    const GarbagePolicy& policy, absl::Time now) {
  if (!TooFull(use, policy)) return {};
  const double wanted = static_cast<double>(use.used_bytes) - PartOf(use.total_bytes, policy.low_percent);

  std::sort(candidates.begin(), candidates.end(),
            [](const GarbageCandidate& a, const GarbageCandidate& b) { return a.updated_at < b.updated_at; });
  std::vector<TaskId> evicted;
  double freed = 0;
  for (const GarbageCandidate& candidate : candidates) {
    if (freed >= wanted) break;
    const bool may_go_on = !candidate.complete && candidate.created_at + policy.unfinished > now;
    if (candidate.bytes == 0 || may_go_on || InUse(candidate, policy, now)) continue;
    freed += static_cast<double>(candidate.bytes);
    evicted.push_back(candidate.id);
  }
  return evicted;
}

}  // namespace dragonfly::daemon
