// SPDX-License-Identifier: Apache-2.0
// Persistent cache tasks with their replicas, as the manager's API shows them. Members: dragonfly v2.3.0,
// manager/types/persistent_cache_task.go.
#pragma once

#include <string>
#include <vector>

#include "scheduler/persistent_store.h"

namespace dragonfly::scheduler {

// A JSON array of all tasks, or of the one with `task_id`, by their ids. Blocks. Errors: those of the store;
// NOT_FOUND for a task that is not there.
absl::StatusOr<std::string> ShowPersistentTasks(PersistentStore& store, const std::string& task_id);

}  // namespace dragonfly::scheduler
