// SPDX-License-Identifier: Apache-2.0
// Which tasks a daemon gives up to keep its content within its age and its space.
//
// A task goes when nobody has used it for the TTL, or, when the disk is fuller than the high threshold, in order of
// last use until the low threshold is reached. What is being downloaded, or was read or written a moment ago, stays.
#pragma once

#include <cstdint>
#include <utility>
#include <vector>

#include "absl/time/time.h"
#include "base/ids.h"

namespace dragonfly::daemon {

struct GarbagePolicy {
  GarbagePolicy() = default;
  absl::Duration task_ttl = absl::Hours(6);    // since last use
  uint64_t high_percent = 80;                  // of the space, 1 to 99
  uint64_t low_percent = 60;                   // below high_percent
  absl::Duration in_use = absl::Minutes(1);    // since last use: still being read
  absl::Duration unfinished = absl::Hours(2);  // since creation: an incomplete task may go on
};

// One task as the policy sees it.
struct GarbageCandidate {
  explicit GarbageCandidate(TaskId task) : id(std::move(task)) {}
  TaskId id;
  uint64_t bytes = 0;  // on disk
  absl::Time created_at;
  absl::Time updated_at;
  bool complete = false;
  bool running = false;  // a download of it runs
};

struct DiskUse {
  uint64_t used_bytes = 0;
  uint64_t total_bytes = 0;
};

// Whether the use has reached the high threshold.
bool TooFull(const DiskUse& use, const GarbagePolicy& policy);

// Tasks whose age is over. Order as given.
std::vector<TaskId> ExpiredTasks(const std::vector<GarbageCandidate>& candidates, const GarbagePolicy& policy,
                                 absl::Time now);

// Tasks to evict so that the use falls to the low threshold, least recently used first; none below the high one.
std::vector<TaskId> TasksOverBudget(std::vector<GarbageCandidate> candidates, const DiskUse& use,
                                    const GarbagePolicy& policy, absl::Time now);

}  // namespace dragonfly::daemon
