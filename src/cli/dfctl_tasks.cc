// SPDX-License-Identifier: Apache-2.0
// What this host has: ls, stat and rm.
#include <algorithm>
#include <iostream>
#include <map>
#include <nlohmann/json.hpp>
#include <optional>

#include "base/text.h"
#include "base/units.h"
#include "cli/dfctl_calls.h"
#include "cli/table.h"
#include "dfdaemon/v2/dfdaemon.pb.h"

namespace dragonfly::cli {
namespace {

namespace wire = dfdaemon::v2;

#define DF_DOWNLOAD_SERVICE "/dfdaemon.v2.DfdaemonDownload/"

constexpr std::chrono::seconds kTimeout{15};
// Removing waits for readers of the files, and for the scheduler.
constexpr std::chrono::seconds kRemoveTimeout{60};

absl::Time TimeOf(const google::protobuf::Timestamp& time) {
  return absl::FromUnixSeconds(time.seconds()) + absl::Nanoseconds(time.nanos());
}

std::string TimeCell(bool present, const google::protobuf::Timestamp& time) {
  return present ? LocalTimeText(TimeOf(time)) : "-";
}

std::string LengthCell(bool present, uint64_t length) { return present ? ByteText(length) : "-"; }

void SetTime(nlohmann::json& out, const char* key, bool present, const google::protobuf::Timestamp& time) {
  out[key] = present
                 ? nlohmann::json(std::string(absl::FormatTime(absl::RFC3339_sec, TimeOf(time), absl::UTCTimeZone())))
                 : nlohmann::json();
}

// Invalid UTF-8 of a stranger's header is replaced rather than refused.
std::string Dump(const nlohmann::json& json) {
  return json.dump(2, ' ', false, nlohmann::json::error_handler_t::replace);
}

// The members that all kinds of local tasks share.
template <typename Task>
nlohmann::json JsonOf(const Task& task) {
  nlohmann::json out;
  out["id"] = task.task_id();
  out["piece_length"] = task.has_piece_length() ? nlohmann::json(task.piece_length()) : nlohmann::json();
  out["content_length"] = task.has_content_length() ? nlohmann::json(task.content_length()) : nlohmann::json();
  out["uploading_count"] = task.uploading_count();
  out["uploaded_count"] = task.uploaded_count();
  SetTime(out, "created_at", task.has_created_at(), task.created_at());
  SetTime(out, "finished_at", task.has_finished_at(), task.finished_at());
  SetTime(out, "failed_at", task.has_failed_at(), task.failed_at());
  SetTime(out, "updated_at", task.has_updated_at(), task.updated_at());
  return out;
}

template <typename Task>
void AppendSizesAndTimes(const Task& task, std::vector<std::string>& cells) {
  cells.push_back(LengthCell(task.has_piece_length(), task.piece_length()));
  cells.push_back(LengthCell(task.has_content_length(), task.content_length()));
  cells.push_back(TimeCell(task.has_created_at(), task.created_at()));
  cells.push_back(TimeCell(task.has_finished_at(), task.finished_at()));
  cells.push_back(TimeCell(task.has_failed_at(), task.failed_at()));
  cells.push_back(TimeCell(task.has_updated_at(), task.updated_at()));
}

std::string TtlCell(const google::protobuf::Duration& ttl) {
  return DurationText(absl::Seconds(ttl.seconds()) + absl::Nanoseconds(ttl.nanos()));
}

// The two kinds of persistent tasks list alike.
template <typename Request, typename Response>
int ListPersistent(const DfctlOptions& options, std::string_view method, std::string_view verb) {
  const auto client = ConnectDaemon(options);
  if (!client) return 1;
  Response response;
  if (const absl::Status called = CallUnary(*client, method, Request(), &response, kTimeout); !called.ok()) {
    PrintFailure(options, verb, called);
    return 1;
  }
  Table table(
      {"ID", "PERSISTENT", "TTL", "PIECE LENGTH", "CONTENT LENGTH", "CREATED", "FINISHED", "FAILED", "UPDATED"});
  nlohmann::json tasks = nlohmann::json::array();
  for (const auto& task : response.tasks()) {
    std::vector<std::string> cells = {task.task_id(), task.persistent() ? "true" : "false", TtlCell(task.ttl())};
    AppendSizesAndTimes(task, cells);
    table.AddRow(std::move(cells));
    nlohmann::json json = JsonOf(task);
    json["persistent"] = task.persistent();
    json["ttl_seconds"] = task.ttl().seconds();
    tasks.push_back(std::move(json));
  }
  std::cout << (options.json ? Dump(tasks) + "\n" : table.ToString());
  return 0;
}

Table TaskTable() {
  return Table({"ID", "PIECE LENGTH", "CONTENT LENGTH", "CREATED", "FINISHED", "FAILED", "UPDATED"});
}

}  // namespace

int ListTasks(const DfctlOptions& options) {
  const auto client = ConnectDaemon(options);
  if (!client) return 1;
  wire::ListLocalTasksResponse response;
  const absl::Status called =
      CallUnary(*client, DF_DOWNLOAD_SERVICE "ListLocalTasks", wire::ListLocalTasksRequest(), &response, kTimeout);
  if (!called.ok()) {
    PrintFailure(options, "Listing Tasks", called);
    return 1;
  }
  Table table = TaskTable();
  nlohmann::json tasks = nlohmann::json::array();
  for (const wire::StatLocalTaskResponse& task : response.tasks()) {
    std::vector<std::string> cells = {task.task_id()};
    AppendSizesAndTimes(task, cells);
    table.AddRow(std::move(cells));
    tasks.push_back(JsonOf(task));
  }
  std::cout << (options.json ? Dump(tasks) + "\n" : table.ToString());
  return 0;
}

int StatTask(const DfctlOptions& options) {
  const auto client = ConnectDaemon(options);
  if (!client) return 1;
  wire::StatLocalTaskRequest request;
  request.set_task_id(options.task_ids.front());
  wire::StatLocalTaskResponse task;
  const absl::Status called = CallUnary(*client, DF_DOWNLOAD_SERVICE "StatLocalTask", request, &task, kTimeout);
  if (!called.ok()) {
    PrintFailure(options, "Stating", called);
    return 1;
  }
  // In the order of their names, so that two runs print the same.
  const std::map<std::string, std::string> header(task.response_header().begin(), task.response_header().end());
  if (options.json) {
    nlohmann::json json = JsonOf(task);
    json["response_header"] = header;
    std::cout << Dump(json) << "\n";
    return 0;
  }
  Table table = TaskTable();
  std::vector<std::string> cells = {task.task_id()};
  AppendSizesAndTimes(task, cells);
  table.AddRow(std::move(cells));
  std::cout << table.ToString();
  if (!header.empty()) std::cout << "\nAnswer of the origin:\n";
  for (const auto& [name, value] : header) std::cout << "  " << name << ": " << value << "\n";
  return 0;
}

int RemoveTasks(const DfctlOptions& options) {
  const auto client = ConnectDaemon(options);
  if (!client) return 1;
  bool all_removed = true;
  nlohmann::json results = nlohmann::json::array();
  for (const std::string& id : options.task_ids) {
    wire::DeleteTaskRequest request;
    request.set_task_id(id);
    wire::DeleteLocalTaskRequest local;
    local.set_task_id(id);
    google::protobuf::Empty empty;
    absl::Status called = options.local
                              ? CallUnary(*client, DF_DOWNLOAD_SERVICE "DeleteLocalTask", local, &empty, kRemoveTimeout)
                              : CallUnary(*client, DF_DOWNLOAD_SERVICE "DeleteTask", request, &empty, kRemoveTimeout);
    results.push_back({{"id", id}, {"removed", called.ok()}});
    if (called.ok()) {
      if (!options.json) PrintSuccess("Task Removed!");
      continue;
    }
    all_removed = false;
    // With several, the report says which.
    if (options.task_ids.size() > 1 && called.message().find(ToAbsl(id)) == absl::string_view::npos)
      called = absl::Status(called.code(), StrCat("task ", id, ": ", called.message()));
    PrintFailure(options, "Removing Task", called);
  }
  if (options.json) std::cout << Dump(results) << "\n";
  return all_removed ? 0 : 1;
}

int ListPersistentTasks(const DfctlOptions& options) {
  return ListPersistent<wire::ListLocalPersistentTasksRequest, wire::ListLocalPersistentTasksResponse>(
      options, DF_DOWNLOAD_SERVICE "ListLocalPersistentTasks", "Listing Persistent Tasks");
}

int ListPersistentCacheTasks(const DfctlOptions& options) {
  return ListPersistent<wire::ListLocalPersistentCacheTasksRequest, wire::ListLocalPersistentCacheTasksResponse>(
      options, DF_DOWNLOAD_SERVICE "ListLocalPersistentCacheTasks", "Listing Persistent Cache Tasks");
}

}  // namespace dragonfly::cli
