// SPDX-License-Identifier: Apache-2.0
// What the jobs about one task ask of a scheduler: get_task, delete_task, list_task_entries and ours. Source: dragonfly
// v2.3.0 and v2.5.1, internal/job/types.go.
#pragma once

#include <map>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "absl/status/statusor.h"
#include "absl/time/time.h"

namespace dragonfly::jobs {

struct TaskRequest {
  TaskRequest() = default;
  std::string task_id;
  absl::Duration timeout = absl::ZeroDuration();  // zero: the receiver's default
  // Of list_task_entries: the directory, and how its source is reached. Stores are JSON of common.v2.ObjectStorage and
  // common.v2.HDFS; certificates are DER.
  std::string url;
  std::map<std::string, std::string> headers;
  std::vector<std::string> certificate_chain;
  std::optional<std::string> object_storage, hdfs;
};

std::string ToJson(const TaskRequest& request);
// Errors: INVALID_ARGUMENT naming the member; with `must_name` also when there is neither a task nor a URL.
absl::StatusOr<TaskRequest> ParseTaskRequest(std::string_view json, bool must_name = true);

}  // namespace dragonfly::jobs
