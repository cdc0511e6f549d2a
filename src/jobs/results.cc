// SPDX-License-Identifier: Apache-2.0
#include "jobs/results.h"

#include <array>
#include <nlohmann/json.hpp>

#include "base/json_bounds.h"
#include "base/status.h"
#include "base/text.h"
#include "jobs/json.h"
#include "jobs/message.h"

namespace dragonfly::jobs {
namespace {

// Go reads null and an empty list alike; it writes null for the former of a slice that nothing was added to.
template <typename T, typename Show>
Json ListOrNull(const std::vector<T>& list, Show show) {
  Json json = nullptr;
  for (const T& entry : list) json.push_back(show(entry));
  return json;
}

template <typename T, typename ReadEntry>
absl::Status ReadList(const Json& json, const char* name, std::vector<T>& list, ReadEntry read) {
  const Json* const array = Find(json, name);
  if (array == nullptr) return absl::OkStatus();
  if (!array->is_array()) return absl::InvalidArgumentError(StrCat(name, ": is no list"));
  for (const Json& entry : *array) {
    if (!entry.is_object()) return absl::InvalidArgumentError(StrCat(name, ": is no list of objects"));
    T value;
    DF_RETURN_IF_ERROR(read(entry, value));
    list.push_back(std::move(value));
  }
  return absl::OkStatus();
}

absl::Status ReadNumber(const Json& json, const char* name, uint64_t& value) {
  std::optional<uint64_t> given;
  DF_RETURN_IF_ERROR(Read(json, name, given));
  value = given.value_or(0);
  return absl::OkStatus();
}

absl::Status ReadTime(const Json& json, const char* name, absl::Time& value) {
  std::string text;
  DF_RETURN_IF_ERROR(Read(json, name, text));
  value = ParseGoTime(text);
  return absl::OkStatus();
}

absl::Status ReadPreheatTask(const Json& json, PreheatResult::Task& task) {
  DF_RETURN_IF_ERROR(Read(json, "url", task.url));
  DF_RETURN_IF_ERROR(Read(json, "hostname", task.hostname));
  DF_RETURN_IF_ERROR(Read(json, "ip", task.ip));
  return Read(json, "description", task.description);
}

absl::Status ReadDeleteTask(const Json& json, DeleteTaskResult::Task& task) {
  DF_RETURN_IF_ERROR(Read(json, "hostname", task.hostname));
  DF_RETURN_IF_ERROR(Read(json, "ip", task.ip));
  DF_RETURN_IF_ERROR(Read(json, "host_type", task.host_type));
  return Read(json, "description", task.description);
}

absl::Status ReadPeer(const Json& json, GetTaskResult::Peer& peer) {
  DF_RETURN_IF_ERROR(Read(json, "id", peer.id));
  DF_RETURN_IF_ERROR(Read(json, "hostname", peer.hostname));
  DF_RETURN_IF_ERROR(Read(json, "ip", peer.ip));
  DF_RETURN_IF_ERROR(Read(json, "host_type", peer.host_type));
  DF_RETURN_IF_ERROR(ReadTime(json, "created_at", peer.created_at));
  DF_RETURN_IF_ERROR(ReadTime(json, "updated_at", peer.updated_at));
  DF_RETURN_IF_ERROR(Read(json, "IsFinished", peer.finished));
  return Read(json, "task_finished", peer.finished);
}

absl::Status ReadHost(const Json& json, HostEntry& host) {
  for (const auto& [name, value] : {std::pair{"ID", &host.id},
                                    {"Hostname", &host.hostname},
                                    {"IP", &host.ip},
                                    {"OS", &host.os},
                                    {"Platform", &host.platform},
                                    {"PlatformFamily", &host.platform_family},
                                    {"PlatformVersion", &host.platform_version},
                                    {"KernelVersion", &host.kernel_version}}) {
    DF_RETURN_IF_ERROR(Read(json, name, *value));
  }
  for (const auto& [name, value] : {std::pair{"Type", &host.type},
                                    {"Port", &host.port},
                                    {"DownloadPort", &host.download_port},
                                    {"ProxyPort", &host.proxy_port}}) {
    DF_RETURN_IF_ERROR(Read(json, name, *value));
  }
  if (const Json* const network = Find(json, "Network"); network != nullptr && network->is_object()) {
    DF_RETURN_IF_ERROR(Read(*network, "IDC", host.idc));
    DF_RETURN_IF_ERROR(Read(*network, "Location", host.location));
  }
  if (const Json* const build = Find(json, "Build"); build != nullptr && build->is_object()) {
    DF_RETURN_IF_ERROR(Read(*build, "GitVersion", host.git_version));
    DF_RETURN_IF_ERROR(Read(*build, "GitCommit", host.git_commit));
    DF_RETURN_IF_ERROR(Read(*build, "Platform", host.build_platform));
  }
  return ReadNumber(json, "SchedulerClusterID", host.cluster_id);
}

}  // namespace

std::string ToJson(const PreheatResult& result) {
  const auto success = [](const PreheatResult::Task& task) {
    return Json{{"url", task.url}, {"hostname", task.hostname}, {"ip", task.ip}};
  };
  const auto failure = [&](const PreheatResult::Task& task) {
    Json json = success(task);
    json["description"] = task.description;
    return json;
  };
  return Dump({{"success_tasks", ListOrNull(result.successes, success)},
               {"failure_tasks", ListOrNull(result.failures, failure)},
               {"scheduler_cluster_id", result.cluster_id}});
}

absl::StatusOr<PreheatResult> ParsePreheatResult(std::string_view text) {
  DF_ASSIGN_OR_RETURN(const Json json, ParseObject(text, "result of preheat"));
  PreheatResult result;
  DF_RETURN_IF_ERROR(ReadList(json, "success_tasks", result.successes, ReadPreheatTask));
  DF_RETURN_IF_ERROR(ReadList(json, "failure_tasks", result.failures, ReadPreheatTask));
  DF_RETURN_IF_ERROR(ReadNumber(json, "scheduler_cluster_id", result.cluster_id));
  return result;
}

std::string ToJson(const GetTaskResult& result) {
  const auto show = [](const GetTaskResult::Peer& peer) {
    return Json{{"id", peer.id},
                {"hostname", peer.hostname},
                {"ip", peer.ip},
                {"host_type", peer.host_type},
                {"created_at", GoTime(peer.created_at)},
                {"updated_at", GoTime(peer.updated_at)},
                {"IsFinished", peer.finished},
                {"task_finished", peer.finished}};
  };
  return Dump({{"peers", ListOrNull(result.peers, show)}, {"scheduler_cluster_id", result.cluster_id}});
}

absl::StatusOr<GetTaskResult> ParseGetTaskResult(std::string_view text) {
  DF_ASSIGN_OR_RETURN(const Json json, ParseObject(text, "result of get_task"));
  GetTaskResult result;
  DF_RETURN_IF_ERROR(ReadList(json, "peers", result.peers, ReadPeer));
  DF_RETURN_IF_ERROR(ReadNumber(json, "scheduler_cluster_id", result.cluster_id));
  return result;
}

std::string ToJson(const DeleteTaskResult& result) {
  const auto success = [](const DeleteTaskResult::Task& task) {
    return Json{{"hostname", task.hostname}, {"ip", task.ip}, {"host_type", task.host_type}};
  };
  // Lists, and never null, as the original writes them.
  Json successes = Json::array(), failures = Json::array();
  for (const DeleteTaskResult::Task& task : result.successes) successes.push_back(success(task));
  for (const DeleteTaskResult::Task& task : result.failures) {
    failures.push_back(success(task));
    failures.back()["description"] = task.description;
  }
  return Dump({{"success_tasks", std::move(successes)},
               {"failure_tasks", std::move(failures)},
               {"scheduler_cluster_id", result.cluster_id}});
}

absl::StatusOr<DeleteTaskResult> ParseDeleteTaskResult(std::string_view text) {
  DF_ASSIGN_OR_RETURN(const Json json, ParseObject(text, "result of delete_task"));
  DeleteTaskResult result;
  DF_RETURN_IF_ERROR(ReadList(json, "success_tasks", result.successes, ReadDeleteTask));
  DF_RETURN_IF_ERROR(ReadList(json, "failure_tasks", result.failures, ReadDeleteTask));
  DF_RETURN_IF_ERROR(ReadNumber(json, "scheduler_cluster_id", result.cluster_id));
  return result;
}

std::string ToJson(const TaskEntries& result) {
  Json entries = Json::array();
  for (const TaskEntries::Entry& entry : result.entries) {
    entries.push_back({{"url", entry.url}, {"content_length", entry.content_length}, {"is_dir", entry.directory}});
  }
  return Dump({{"entries", std::move(entries)}, {"scheduler_cluster_id", result.cluster_id}});
}

absl::StatusOr<TaskEntries> ParseTaskEntries(std::string_view text) {
  DF_ASSIGN_OR_RETURN(const Json json, ParseObject(text, "result of list_task_entries", kResultMax));
  TaskEntries result;
  DF_RETURN_IF_ERROR(
      ReadList(json, "entries", result.entries, [](const Json& one, TaskEntries::Entry& entry) -> absl::Status {
        DF_RETURN_IF_ERROR(Read(one, "url", entry.url));
        DF_RETURN_IF_ERROR(ReadNumber(one, "content_length", entry.content_length));
        return Read(one, "is_dir", entry.directory);
      }));
  DF_RETURN_IF_ERROR(ReadNumber(json, "scheduler_cluster_id", result.cluster_id));
  return result;
}

std::string_view HostTypeName(int64_t type) {
  constexpr std::array<std::string_view, 4> kNames = {"normal", "super", "strong", "weak"};
  return kNames[type < 0 || type > 3 ? 0 : static_cast<size_t>(type)];
}

std::string ToJson(const std::vector<HostEntry>& hosts) {
  Json list = Json::array();
  for (const HostEntry& host : hosts) {
    list.push_back({{"ID", host.id},
                    {"Type", host.type},
                    {"Hostname", host.hostname},
                    {"IP", host.ip},
                    {"Port", host.port},
                    {"DownloadPort", host.download_port},
                    {"ObjectStoragePort", 0},
                    {"ProxyPort", host.proxy_port},
                    {"OS", host.os},
                    {"Platform", host.platform},
                    {"PlatformFamily", host.platform_family},
                    {"PlatformVersion", host.platform_version},
                    {"KernelVersion", host.kernel_version},
                    {"Network", {{"Location", host.location}, {"IDC", host.idc}}},
                    {"Build",
                     {{"GitVersion", host.git_version},
                      {"GitCommit", host.git_commit},
                      {"GoVersion", ""},
                      {"Platform", host.build_platform}}},
                    {"SchedulerClusterID", host.cluster_id}});
  }
  return Dump(list);
}

absl::StatusOr<std::vector<HostEntry>> ParseHosts(std::string_view text) {
  if (text.size() > kResultMax || !IsBoundedJson(text)) {
    return absl::InvalidArgumentError("result of sync_peers: is too large");
  }
  const Json json = Json::parse(text, nullptr, /*allow_exceptions=*/false);
  std::vector<HostEntry> hosts;
  if (json.is_null()) return hosts;
  if (!json.is_array()) return absl::InvalidArgumentError("result of sync_peers: is no list");
  for (const Json& entry : json) {
    if (!entry.is_object()) return absl::InvalidArgumentError("result of sync_peers: is no list of objects");
    DF_RETURN_IF_ERROR(ReadHost(entry, hosts.emplace_back()));
  }
  return hosts;
}

}  // namespace dragonfly::jobs
