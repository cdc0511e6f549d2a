// SPDX-License-Identifier: Apache-2.0
#include "jobs/task_request.h"

#include <algorithm>
#include <nlohmann/json.hpp>

#include "base/status.h"
#include "base/text.h"
#include "jobs/json.h"

namespace dragonfly::jobs {

std::string ToJson(const TaskRequest& request) {
  Json json = {{"task_id", request.task_id}, {"timeout", absl::ToInt64Nanoseconds(request.timeout)}};
  if (!request.url.empty()) {
    json["url"] = request.url;
    json["header"] = request.headers;
  }
  return Dump(json);
}

absl::StatusOr<TaskRequest> ParseTaskRequest(std::string_view text, bool must_name) {
  DF_ASSIGN_OR_RETURN(const Json json, ParseObject(text, "request about a task"));
  TaskRequest request;
  int64_t timeout = 0;
  DF_RETURN_IF_ERROR(Read(json, "task_id", request.task_id));
  DF_RETURN_IF_ERROR(Read(json, "timeout", timeout));
  DF_RETURN_IF_ERROR(Read(json, "url", request.url));
  if (const Json* const headers = Find(json, "header"); headers != nullptr) {
    if (!headers->is_object()) return absl::InvalidArgumentError("header: is no object");
    for (const auto& [name, value] : headers->items()) {
      if (!value.is_string()) return absl::InvalidArgumentError(StrCat("header: ", Quoted(name), " is no text"));
      request.headers[name] = value.get<std::string>();
    }
  }
  if (must_name && request.task_id.empty() && request.url.empty())
    return absl::InvalidArgumentError("task_id: is required");
  request.timeout = absl::Nanoseconds(std::max<int64_t>(0, timeout));
  return request;
}

}  // namespace dragonfly::jobs
