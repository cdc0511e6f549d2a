// SPDX-License-Identifier: Apache-2.0
// What the jobs about one task ask of a scheduler: get_task, delete_task and ours. Source: dragonfly v2.3.0 and v2.5.1,
// internal/job/types.go.
#pragma once

#include <map>
#include <string>
#include <string_view>

#include "absl/status/statusor.h"
#include "absl/time/time.h"

namespace dragonfly::jobs {

struct TaskRequest {
  TaskRequest() = default;
  std::string task_id;
  absl::Duration timeout = absl::ZeroDuration();  // zero: the receiver's default
  // Of list_task_entries: the directory, and headers for its source.
  std::string url;
  std::map<std::string, std::string> headers;
};

std::string ToJson(const TaskRequest& request);
// Errors: INVALID_ARGUMENT naming the member; with `must_name` also when there is neither a task nor a URL.
absl::StatusOr<TaskRequest> ParseTaskRequest(std::string_view json, bool must_name = true);

}  // namespace dragonfly::jobs
