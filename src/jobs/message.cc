// SPDX-License-Identifier: Apache-2.0
#include "jobs/message.h"

#include <openssl/rand.h>

#include <algorithm>
#include <array>
#include <nlohmann/json.hpp>
#include <span>

#include "base/digest.h"
#include "base/status.h"
#include "base/text.h"
#include "jobs/json.h"

namespace dragonfly::jobs {
namespace {

constexpr std::array<std::string_view, 6> kStates = {"PENDING", "RECEIVED", "STARTED", "RETRY", "SUCCESS", "FAILURE"};
constexpr char kDoneListHeader[] = "dragonfly_done_list";

// 32 hexadecimal digits in the form of a UUID of version 4.
std::string AsUuid(std::string hex) {
  hex.resize(32, '0');
  hex[12] = '4';
  hex[16] = "89ab"[static_cast<size_t>(hex[16] <= '9' ? hex[16] - '0' : hex[16] - 'a' + 10) & 3];
  for (const size_t at : {20u, 16u, 12u, 8u}) hex.insert(at, "-");
  return hex;
}

// Schedulers of the original put jobs back that they do not know, and find them again at once, unless they are told to
// drop them.
bool IsOriginals(std::string_view name) {
  return name == kPreheat || name == kSyncPeers || name == kGetTask || name == kDeleteTask;
}

}  // namespace

std::string_view NameOf(State state) { return kStates[static_cast<size_t>(state)]; }

std::optional<State> ParseState(std::string_view name) {
  for (size_t i = 0; i < kStates.size(); ++i) {
    if (kStates[i] == name) return static_cast<State>(i);
  }
  return std::nullopt;
}

std::string ToJson(const Message& message) {
  Json headers = Json::object();
  if (!message.done_list.empty()) headers[kDoneListHeader] = message.done_list;
  Json arguments = nullptr;
  if (message.argument.has_value()) {
    arguments = Json::array({{{"Name", ""}, {"Type", "string"}, {"Value", *message.argument}}});
  }
  const Json json = {{"UUID", message.uuid},
                     {"Name", message.name},
                     {"RoutingKey", message.queue},
                     {"ETA", nullptr},
                     {"GroupUUID", message.group_uuid},
                     {"GroupTaskCount", message.group_size},
                     {"Args", std::move(arguments)},
                     {"Headers", std::move(headers)},
                     {"Priority", 0},
                     {"Immutable", false},
                     {"RetryCount", message.retries},
                     {"RetryTimeout", 0},
                     {"OnSuccess", nullptr},
                     {"OnError", nullptr},
                     {"ChordCallback", nullptr},
                     {"BrokerMessageGroupId", ""},
                     {"SQSReceiptHandle", ""},
                     {"StopTaskDeletionOnError", false},
                     {"IgnoreWhenTaskNotRegistered", !IsOriginals(message.name)}};
  return Dump(json);
}

absl::StatusOr<Message> ParseMessage(std::string_view text) {
  DF_ASSIGN_OR_RETURN(const Json json, ParseObject(text, "message of a job"));
  Message message;
  DF_RETURN_IF_ERROR(Read(json, "UUID", message.uuid));
  DF_RETURN_IF_ERROR(Read(json, "Name", message.name));
  DF_RETURN_IF_ERROR(Read(json, "RoutingKey", message.queue));
  DF_RETURN_IF_ERROR(Read(json, "GroupUUID", message.group_uuid));
  int64_t size = 0, retries = 0;
  DF_RETURN_IF_ERROR(Read(json, "GroupTaskCount", size));
  DF_RETURN_IF_ERROR(Read(json, "RetryCount", retries));
  constexpr int64_t kRetriesMax = 100;
  message.group_size = static_cast<uint64_t>(std::max<int64_t>(0, size));
  message.retries = static_cast<int>(std::clamp<int64_t>(retries, 0, kRetriesMax));
  if (message.uuid.empty() || message.name.empty()) {
    return absl::InvalidArgumentError("message of a job: it has no UUID and Name");
  }
  if (const Json* const arguments = Find(json, "Args"); arguments != nullptr && !arguments->empty()) {
    if (!arguments->is_array() || !arguments->front().is_object()) {
      return absl::InvalidArgumentError("Args: is no list of objects");
    }
    DF_RETURN_IF_ERROR(Read(arguments->front(), "Value", message.argument));
  }
  if (const Json* const headers = Find(json, "Headers"); headers != nullptr && headers->is_object()) {
    DF_RETURN_IF_ERROR(Read(*headers, kDoneListHeader, message.done_list));
  }
  return message;
}

std::string ToJson(const TaskState& state) {
  Json results = nullptr;
  for (const std::string& result : state.results) results.push_back({{"Type", "string"}, {"Value", result}});
  return Dump({{"TaskUUID", state.uuid},
               {"TaskName", state.name},
               {"State", std::string(NameOf(state.state))},
               {"Results", std::move(results)},
               {"Error", state.error},
               {"CreatedAt", GoTime(state.created_at)},
               {"TTL", 0}});
}

absl::StatusOr<TaskState> ParseTaskState(std::string_view text) {
  DF_ASSIGN_OR_RETURN(const Json json, ParseObject(text, "state of a job", kStateMax));
  TaskState state;
  std::string name, created_at;
  DF_RETURN_IF_ERROR(Read(json, "TaskUUID", state.uuid));
  DF_RETURN_IF_ERROR(Read(json, "TaskName", state.name));
  DF_RETURN_IF_ERROR(Read(json, "State", name));
  DF_RETURN_IF_ERROR(Read(json, "Error", state.error));
  DF_RETURN_IF_ERROR(Read(json, "CreatedAt", created_at));
  const std::optional<State> parsed = ParseState(name);
  if (!parsed.has_value()) return absl::InvalidArgumentError(StrCat("State: ", Quoted(name), " is not known"));
  state.state = *parsed;
  state.created_at = ParseGoTime(created_at);
  if (const Json* const results = Find(json, "Results"); results != nullptr) {
    if (!results->is_array()) return absl::InvalidArgumentError("Results: is no list");
    for (const Json& result : *results) {
      if (!result.is_object()) return absl::InvalidArgumentError("Results: is no list of objects");
      std::string value;
      DF_RETURN_IF_ERROR(Read(result, "Value", value));
      state.results.push_back(std::move(value));
    }
  }
  return state;
}

std::string ToJson(const Group& group) {
  return Dump({{"GroupUUID", group.uuid},
               {"TaskUUIDs", group.task_uuids},
               {"ChordTriggered", false},
               {"Lock", false},
               {"CreatedAt", GoTime(group.created_at)},
               {"TTL", 0},
               {"Queues", group.queues},
               {"Published", group.published}});
}

absl::StatusOr<Group> ParseGroup(std::string_view text) {
  DF_ASSIGN_OR_RETURN(const Json json, ParseObject(text, "group of jobs"));
  Group group;
  std::string created_at;
  DF_RETURN_IF_ERROR(Read(json, "GroupUUID", group.uuid));
  DF_RETURN_IF_ERROR(Read(json, "TaskUUIDs", group.task_uuids));
  DF_RETURN_IF_ERROR(Read(json, "CreatedAt", created_at));
  DF_RETURN_IF_ERROR(Read(json, "Queues", group.queues));
  // An original manager writes nothing of it: what it has written is on its way.
  group.published = true;
  DF_RETURN_IF_ERROR(Read(json, "Published", group.published));
  group.created_at = ParseGoTime(created_at);
  return group;
}

State StateOf(const std::vector<TaskState>& tasks) {
  bool all = !tasks.empty();
  for (const TaskState& task : tasks) {
    if (task.state == State::kFailure) return State::kFailure;
    all &= task.state == State::kSuccess;
  }
  return all ? State::kSuccess : State::kPending;
}

bool HaveEnded(const std::vector<TaskState>& tasks) {
  return std::ranges::all_of(tasks, [](const TaskState& task) { return HasEnded(task.state); });
}

std::string SchedulerQueue(uint64_t cluster_id, std::string_view hostname) {
  return StrCat("scheduler_", cluster_id, "_", hostname);
}

std::string SchedulerQueue(uint64_t cluster_id, std::string_view hostname, std::string_view ip) {
  return StrCat(SchedulerQueue(cluster_id, hostname), "_", ip);
}

std::string MakeGroupUuid() {
  std::array<unsigned char, 16> random{};
  RAND_bytes(random.data(), static_cast<int>(random.size()));
  constexpr std::string_view kHex = "0123456789abcdef";
  std::string hex;
  for (const unsigned char byte : random) {
    hex += kHex[byte >> 4];
    hex += kHex[byte & 15];
  }
  return StrCat("group_", AsUuid(std::move(hex)));
}

std::string TaskUuidOf(std::string_view group_uuid, size_t index) {
  const std::string text = StrCat(group_uuid, "/", index);
  Hasher hasher(DigestAlgorithm::kSha256);
  hasher.Update(std::as_bytes(std::span(text.data(), text.size())));
  return StrCat("task_", AsUuid(hasher.Finish().encoded().substr(0, 32)));
}

}  // namespace dragonfly::jobs
