// SPDX-License-Identifier: Apache-2.0
#include "jobs/task_request.h"

#include <algorithm>
#include <nlohmann/json.hpp>

#include "base/status.h"
#include "base/text.h"
#include "jobs/json.h"
#include "jobs/origin_members.h"

namespace dragonfly::jobs {

std::string ToJson(const TaskRequest& request) {
  Json json = {{"task_id", request.task_id}, {"timeout", absl::ToInt64Nanoseconds(request.timeout)}};
  if (!request.url.empty()) {
    json["url"] = request.url;
    json["header"] = request.headers;
    json["certificate_chain"] = ShowCertificates(request.certificate_chain);
    SetObject(json, "object_storage", request.object_storage);
    SetObject(json, "hdfs", request.hdfs);
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
  DF_RETURN_IF_ERROR(ReadHeaders(json, "header", request.headers));
  DF_RETURN_IF_ERROR(ReadCertificates(json, "certificate_chain", request.certificate_chain));
  DF_RETURN_IF_ERROR(ReadObject(json, "object_storage", request.object_storage));
  DF_RETURN_IF_ERROR(ReadObject(json, "hdfs", request.hdfs));
  if (must_name && request.task_id.empty() && request.url.empty())
    return absl::InvalidArgumentError("task_id: is required");
  request.timeout = absl::Nanoseconds(std::max<int64_t>(0, timeout));
  return request;
}

}  // namespace dragonfly::jobs
