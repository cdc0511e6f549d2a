// SPDX-License-Identifier: Apache-2.0
#include "manager/job_result.h"

#include <map>
#include <nlohmann/json.hpp>

#include "base/ids.h"
#include "base/json_bounds.h"
#include "jobs/results.h"
#include "manager/job_args.h"

namespace dragonfly::manager {
namespace {

using Json = nlohmann::ordered_json;

std::string GoTime(absl::Time time) { return absl::FormatTime("%Y-%m-%dT%H:%M:%E*SZ", time, absl::UTCTimeZone()); }

Json Parsed(const std::string& text) {
  if (!IsBoundedJson(text)) return Json(nullptr);
  Json value = Json::parse(text, nullptr, /*allow_exceptions=*/false);
  if (value.is_discarded()) return Json(text);
  for (const char* const list : {"success_tasks", "failure_tasks"}) {
    if (!value.is_object() || !value.contains(list) || !value[list].is_array()) continue;
    for (Json& task : value[list]) {
      if (!task.is_object() || !task.contains("url") || !task["url"].is_string()) continue;
      task["url"] = ShownUrl(task["url"].get<std::string>());
    }
  }
  return value;
}

std::string Dump(const Json& value) { return value.dump(-1, ' ', false, Json::error_handler_t::replace); }

}  // namespace

std::string ShowGroup(std::string_view group_uuid, const std::vector<jobs::TaskState>& tasks, absl::Time now) {
  Json states = Json::array();
  absl::Time created_at = now;
  for (const jobs::TaskState& task : tasks) {
    created_at = std::min(created_at, task.created_at);
    Json results = nullptr;
    for (const std::string& result : task.results) results.push_back(Parsed(result));
    states.push_back({{"task_uuid", task.uuid},
                      {"task_name", task.name},
                      {"state", std::string(jobs::NameOf(task.state))},
                      {"results", std::move(results)},
                      {"error", task.error},
                      {"created_at", GoTime(task.created_at)},
                      {"ttl", 0}});
  }
  return Dump({{"group_uuid", std::string(group_uuid)},
               {"state", std::string(jobs::NameOf(jobs::StateOf(tasks)))},
               {"created_at", GoTime(created_at)},
               {"updated_at", GoTime(now)},
               {"job_states", std::move(states)}});
}

std::string ShowImageDistribution(const std::vector<std::string>& layers, size_t schedulers,
                                  const std::vector<jobs::TaskState>& tasks) {
  struct Host {
    std::string ip, hostname;
    uint64_t cluster_id = 0;
    std::map<size_t, bool> layers;  // complete or not
  };
  std::map<std::string, Host> hosts;
  for (size_t i = 0; i < tasks.size(); ++i) {
    for (const std::string& text : tasks[i].results) {
      const auto result = jobs::ParseGetTaskResult(text);
      if (!result.ok()) continue;
      for (const jobs::GetTaskResult::Peer& peer : result->peers) {
        // Seeds are not what is asked about.
        if (peer.host_type != "normal") continue;
        Host& host = hosts[MakeHostId(peer.ip, peer.hostname, false)];
        host.ip = peer.ip;
        host.hostname = peer.hostname;
        host.cluster_id = result->cluster_id;
        bool& complete = host.layers[i / schedulers];
        complete = complete || peer.finished;
      }
    }
  }
  Json image = Json::array(), peers = Json::array();
  for (const std::string& url : layers) image.push_back({{"url", url}});
  for (const auto& [id, host] : hosts) {
    Json cached = Json::array();
    for (const auto& [index, complete] : host.layers) {
      cached.push_back({{"url", layers[index]}, {"is_finished", complete}});
    }
    // The name of the list up to v2.3.0, and from v2.3.1 on.
    peers.push_back({{"ip", host.ip},
                     {"hostname", host.hostname},
                     {"layers", cached},
                     {"cached_layers", cached},
                     {"scheduler_cluster_id", host.cluster_id}});
  }
  return Dump({{"image", {{"layers", std::move(image)}}}, {"peers", std::move(peers)}});
}

}  // namespace dragonfly::manager
