// SPDX-License-Identifier: Apache-2.0
#include "scheduler/persistent_show.h"

#include <google/protobuf/descriptor.h>
#include <google/protobuf/message.h>

#include <algorithm>
#include <map>
#include <nlohmann/json.hpp>

#include "absl/strings/escaping.h"
#include "base/status.h"
#include "base/text.h"

namespace dragonfly::scheduler {
namespace {

using Json = nlohmann::ordered_json;

std::string GoTime(absl::Time time) { return absl::FormatTime("%Y-%m-%dT%H:%M:%E*SZ", time, absl::UTCTimeZone()); }

// Every field by its name, numbers as numbers. Of the messages that a host consists of: no lists, maps or enums.
Json Show(const google::protobuf::Message& message) {
  using Field = google::protobuf::FieldDescriptor;
  const auto* const reflection = message.GetReflection();
  Json json = Json::object();
  for (int i = 0; i < message.GetDescriptor()->field_count(); ++i) {
    const Field* const field = message.GetDescriptor()->field(i);
    if (field->is_repeated()) continue;
    Json& value = json[field->name()];
    switch (field->cpp_type()) {
      case Field::CPPTYPE_INT32:
        value = reflection->GetInt32(message, field);
        break;
      case Field::CPPTYPE_INT64:
        value = reflection->GetInt64(message, field);
        break;
      case Field::CPPTYPE_UINT32:
        value = reflection->GetUInt32(message, field);
        break;
      case Field::CPPTYPE_UINT64:
        value = reflection->GetUInt64(message, field);
        break;
      case Field::CPPTYPE_DOUBLE:
        value = reflection->GetDouble(message, field);
        break;
      case Field::CPPTYPE_FLOAT:
        value = reflection->GetFloat(message, field);
        break;
      case Field::CPPTYPE_BOOL:
        value = reflection->GetBool(message, field);
        break;
      case Field::CPPTYPE_STRING:
        value = reflection->GetString(message, field);
        break;
      case Field::CPPTYPE_MESSAGE:
        value = Show(reflection->GetMessage(message, field));
        break;
      default:
        json.erase(field->name());
    }
  }
  return json;
}

Json Show(const PersistentHost& host) {
  Json json = Show(host.wire);
  json["announce_interval"] = absl::ToInt64Nanoseconds(host.announce_interval);
  json["created_at"] = GoTime(host.created_at);
  json["updated_at"] = GoTime(host.updated_at);
  return json;
}

Json Show(const PersistentPeer& peer) {
  return {{"id", peer.id},
          {"persistent", peer.persistent},
          {"finished_pieces", std::string(absl::WebSafeBase64Escape(peer.pieces.Encode()))},
          {"state", std::string(TextOf(peer.state))},
          {"block_parents", peer.block_parents},
          {"cost", absl::ToInt64Nanoseconds(peer.cost)},
          {"created_at", GoTime(peer.created_at)},
          {"updated_at", GoTime(peer.updated_at)}};
}

Json Show(const PersistentTask& task) {
  return {{"id", task.id},
          {"persistent_replica_count", task.persistent_replica_count},
          {"tag", task.tag},
          {"application", task.application},
          {"piece_length", task.piece_length},
          {"content_length", task.content_length},
          {"total_piece_count", task.piece_count},
          {"state", std::string(TextOf(task.state))},
          {"ttl", absl::ToInt64Nanoseconds(task.ttl)},
          {"created_at", GoTime(task.created_at)},
          {"updated_at", GoTime(task.updated_at)}};
}

}  // namespace

absl::StatusOr<std::string> ShowPersistentTasks(PersistentStore& store, const std::string& task_id) {
  std::vector<PersistentTask> tasks;
  if (task_id.empty()) {
    DF_ASSIGN_OR_RETURN(tasks, store.ListTasks());
  } else {
    DF_ASSIGN_OR_RETURN(PersistentTask task, store.LoadTask(task_id));
    tasks.push_back(std::move(task));
  }
  std::ranges::sort(tasks, {}, &PersistentTask::id);
  std::map<std::string, Json> hosts;
  Json list = Json::array();
  for (const PersistentTask& task : tasks) {
    DF_ASSIGN_OR_RETURN(std::vector<PersistentPeer> peers, store.PeersOf(task.id));
    std::ranges::sort(peers, {}, &PersistentPeer::id);
    Json& shown = list.emplace_back(Show(task));
    shown["peers"] = Json::array();
    for (const PersistentPeer& peer : peers) {
      const auto [host, unknown] = hosts.try_emplace(peer.host_id, nullptr);
      if (unknown) {
        const auto found = store.LoadHost(peer.host_id);
        if (found.ok()) host->second = Show(*found);
        if (!found.ok()) host->second = Json{{"id", peer.host_id}};
      }
      Json& one = shown["peers"].emplace_back(Show(peer));
      one["host"] = host->second;
    }
  }
  return list.dump(-1, ' ', false, Json::error_handler_t::replace);
}

}  // namespace dragonfly::scheduler
