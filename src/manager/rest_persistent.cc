// SPDX-License-Identifier: Apache-2.0
// Persistent cache tasks, asked of the schedulers that keep them.
#include <algorithm>
#include <map>
#include <nlohmann/json.hpp>
#include <utility>

#include "base/ids.h"
#include "base/status.h"
#include "base/text.h"
#include "jobs/message.h"
#include "jobs/task_request.h"
#include "manager/jobs.h"
#include "manager/rest_jobs.h"

namespace dragonfly::manager {
namespace {

namespace asio = boost::asio;
using Json = nlohmann::ordered_json;

absl::StatusOr<uint64_t> ClusterOf(const RestCall& call) {
  const auto given = call.query.find("scheduler_cluster_id");
  const auto id = given == call.query.end() ? std::nullopt : ParseDecimal<uint64_t>(given->second);
  if (!id.has_value() || *id == 0) {
    return absl::InvalidArgumentError(
        "Key: 'scheduler_cluster_id' Error:Field validation for 'scheduler_cluster_id' failed on the 'required' tag");
  }
  return *id;
}

// Each once, by its id; of schedulers that share a store all tell the same.
asio::awaitable<absl::StatusOr<std::map<std::string, Json>>> TasksOf(RestContext& context, uint64_t cluster,
                                                                     std::string task_id) {
  jobs::TaskRequest request;
  request.task_id = std::move(task_id);
  DF_CO_ASSIGN_OR_RETURN(const std::vector<std::string> answers,
                         co_await context.jobs->Ask(cluster, jobs::kGetPersistentCacheTask, jobs::ToJson(request)));
  std::map<std::string, Json> tasks;
  for (const std::string& answer : answers) {
    const Json list = Json::parse(answer, nullptr, /*allow_exceptions=*/false);
    if (!list.is_array()) continue;
    for (const Json& task : list) {
      const auto id = task.is_object() ? task.find("id") : task.end();
      if (task.is_object() && id != task.end() && id->is_string()) tasks.emplace(id->get<std::string>(), task);
    }
  }
  co_return tasks;
}

}  // namespace

asio::awaitable<RestAnswer> ListPersistentCacheTasks(RestContext& context, RestCall call) {
  DF_CO_ASSIGN_OR_RETURN(const uint64_t cluster, ClusterOf(call));
  DF_CO_ASSIGN_OR_RETURN(const Page page, PageOf(call));
  DF_CO_ASSIGN_OR_RETURN(const auto tasks, co_await TasksOf(context, cluster, ""));
  Json shown = Json::array();
  int64_t index = 0;
  for (const auto& [id, task] : tasks) {
    const int64_t at = index++;
    if (at >= (page.page - 1) * page.per_page && at < page.page * page.per_page) shown.push_back(task);
  }
  http::Response response = JsonResponse(shown.dump(-1, ' ', false, Json::error_handler_t::replace));
  AddLinks(call, page, static_cast<int64_t>(tasks.size()), response);
  co_return response;
}

asio::awaitable<RestAnswer> GetPersistentCacheTask(RestContext& context, RestCall call) {
  DF_CO_ASSIGN_OR_RETURN(const uint64_t cluster, ClusterOf(call));
  DF_CO_ASSIGN_OR_RETURN(const TaskId id, TaskId::Parse(call.params["id"]));
  DF_CO_ASSIGN_OR_RETURN(const auto tasks, co_await TasksOf(context, cluster, id.str()));
  if (tasks.empty()) co_return absl::NotFoundError("task not found");
  co_return JsonResponse(tasks.begin()->second.dump(-1, ' ', false, Json::error_handler_t::replace));
}

asio::awaitable<RestAnswer> DeletePersistentCacheTask(RestContext& context, RestCall call) {
  DF_CO_ASSIGN_OR_RETURN(const uint64_t cluster, ClusterOf(call));
  DF_CO_ASSIGN_OR_RETURN(const TaskId id, TaskId::Parse(call.params["id"]));
  DF_CO_ASSIGN_OR_RETURN(const auto tasks, co_await TasksOf(context, cluster, id.str()));
  if (tasks.empty()) co_return absl::NotFoundError("task not found");
  jobs::TaskRequest request;
  request.task_id = id.str();
  DF_CO_RETURN_IF_ERROR(
      (co_await context.jobs->Ask(cluster, jobs::kDeletePersistentCacheTask, jobs::ToJson(request))).status());
  co_return EmptyResponse();
}

}  // namespace dragonfly::manager
