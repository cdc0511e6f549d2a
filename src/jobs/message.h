// SPDX-License-Identifier: Apache-2.0
// Jobs on their way between managers and schedulers, and what becomes of them, in the form of machinery, the Go library
// of the original: dragonflyoss/machinery v1.10.14, v1/tasks/{signature,state}.go. See docs/jobs.md.
#pragma once

#include <cstdint>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "absl/status/statusor.h"
#include "absl/time/time.h"

namespace dragonfly::jobs {

// Names of what schedulers do.
inline constexpr char kPreheat[] = "preheat";
inline constexpr char kSyncPeers[] = "sync_peers";
inline constexpr char kGetTask[] = "get_task";
inline constexpr char kDeleteTask[] = "delete_task";
// Ours, which no original scheduler knows.
inline constexpr char kListTaskEntries[] = "list_task_entries";
inline constexpr char kGetPersistentCacheTask[] = "get_persistent_cache_task";
inline constexpr char kDeletePersistentCacheTask[] = "delete_persistent_cache_task";

enum class State { kPending, kReceived, kStarted, kRetry, kSuccess, kFailure };

// "PENDING", ...
std::string_view NameOf(State state);
std::optional<State> ParseState(std::string_view name);
inline bool HasEnded(State state) { return state == State::kSuccess || state == State::kFailure; }

inline constexpr size_t kMessageMax = 8 << 20;  // bytes of one message, or of one result but that of sync_peers
// Bytes of one state: the answer to sync_peers has two to three KiB for each host when the original's scheduler gives
// it.
inline constexpr size_t kStateMax = 64 << 20;
// Bytes of one result: as a text in a state it may grow by half, since its quotes are escaped there.
inline constexpr size_t kResultMax = kStateMax * 2 / 3;

// One piece of work for one queue.
struct Message {
  Message() = default;
  std::string uuid;   // "task_<uuid>"
  std::string name;   // kPreheat, ...
  std::string queue;  // the routing key
  std::string group_uuid;
  uint64_t group_size = 0;
  std::optional<std::string> argument;  // JSON
  int retries = 0;                      // how often it is tried again after a failure
  // A list that is told the group's name when the work has ended; empty: nobody waits. Travels in the headers, where
  // the original's schedulers do not look.
  std::string done_list;
};

std::string ToJson(const Message& message);
// Members that are not known are let be. Errors: INVALID_ARGUMENT.
absl::StatusOr<Message> ParseMessage(std::string_view json);

struct TaskState {
  TaskState() = default;
  std::string uuid;
  std::string name;
  State state = State::kPending;
  std::vector<std::string> results;  // JSON, as the original's functions return it: one at most
  std::string error;
  absl::Time created_at = absl::UnixEpoch();
};

std::string ToJson(const TaskState& state);
absl::StatusOr<TaskState> ParseTaskState(std::string_view json);

struct Group {
  Group() = default;
  std::string uuid;  // "group_<uuid>"
  std::vector<std::string> task_uuids;
  absl::Time created_at = absl::UnixEpoch();
  // Ours: the queues of the tasks, to find what waits there, and whether all of them have got there.
  std::vector<std::string> queues;
  bool published = false;
};

std::string ToJson(const Group& group);
absl::StatusOr<Group> ParseGroup(std::string_view json);

// Of all tasks together: kFailure when one has failed, kSuccess when all have succeeded, else kPending.
State StateOf(const std::vector<TaskState>& tasks);
bool HaveEnded(const std::vector<TaskState>& tasks);

// The queue of a scheduler: "scheduler_<cluster>_<hostname>" up to v2.3.0, with "_<ip>" behind it from v2.3.1 on.
std::string SchedulerQueue(uint64_t cluster_id, std::string_view hostname);
std::string SchedulerQueue(uint64_t cluster_id, std::string_view hostname, std::string_view ip);

// "group_<uuid v4>", a new one at each call.
std::string MakeGroupUuid();
// "task_<uuid>" of the `index`-th task of a group: always the same, so that a group that is sent again has the same
// tasks.
std::string TaskUuidOf(std::string_view group_uuid, size_t index);

}  // namespace dragonfly::jobs
