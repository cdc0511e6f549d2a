// SPDX-License-Identifier: Apache-2.0
// Which tasks a daemon gives up to keep its content within its age and its space.
//
// A task goes when nobody has used it for the TTL, or, when the disk is fuller than the high threshold, in order of
// last use until the low threshold is reached, or when a download needs the room at once. What is being downloaded,
// read or linked, or was a moment ago, stays.
#pragma once

#include <cstdint>
#include <functional>
#include <utility>
#include <vector>

#include "absl/time/time.h"
#include "base/ids.h"

namespace dragonfly::daemon {

struct GarbagePolicy {
  GarbagePolicy() = default;
  absl::Duration task_ttl = absl::Hours(6);                   // since last use
  uint64_t high_percent = 80;                                 // of the space, 1 to 99
  uint64_t low_percent = 60;                                  // below high_percent
  absl::Duration in_use = absl::Minutes(1);                   // since last use: still being read
  absl::Duration just_used = absl::Seconds(10);               // the same when room is needed at once
  absl::Duration unfinished = absl::Hours(2);                 // since creation: an incomplete task may go on
  absl::Duration page_cache_idle = absl::InfiniteDuration();  // since last use: memory is given back
};

// One task as the policy sees it.
struct GarbageCandidate {
  explicit GarbageCandidate(TaskId task) : id(std::move(task)) {}
  TaskId id;
  uint64_t bytes = 0;  // that are free when it has gone
  absl::Time created_at;
  absl::Time updated_at;
  bool complete = false;
  bool running = false;  // it is being downloaded, read or linked
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

// Tasks to evict so that `bytes` get free at once, least recently used first, incomplete ones too; none when all
// together are not enough. `free_by` tells the bytes that get free with one, and is asked about no more tasks than
// needed.
std::vector<TaskId> TasksToMakeRoom(std::vector<GarbageCandidate> candidates, uint64_t bytes,
                                    const GarbagePolicy& policy, absl::Time now,
                                    const std::function<uint64_t(const TaskId& id)>& free_by);

}  // namespace dragonfly::daemon
