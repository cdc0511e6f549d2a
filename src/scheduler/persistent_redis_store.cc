// SPDX-License-Identifier: Apache-2.0
#include <map>
#include <utility>

#include "base/status.h"
#include "base/text.h"
#include "scheduler/persistent_store.h"

namespace dragonfly::scheduler {
namespace {

using redis::Command;
using redis::Script;

// Sets are as old as their youngest member: a time to live is only ever made longer.
const Script& StoreRecord() {
  // KEYS: the hash. ARGV: seconds, then fields and values.
  static const Script script(
      "redis.call('HSET', KEYS[1], unpack(ARGV, 2))\n"
      "redis.call('EXPIRE', KEYS[1], ARGV[1])\n"
      "return true\n");
  return script;
}

const Script& AddMember() {
  // KEYS: the set. ARGV: seconds, member.
  static const Script script(
      "redis.call('SADD', KEYS[1], ARGV[2])\n"
      "if redis.call('TTL', KEYS[1]) < tonumber(ARGV[1]) then redis.call('EXPIRE', KEYS[1], ARGV[1]) end\n"
      "return true\n");
  return script;
}

const Script& StorePeer() {
  // KEYS: the hash, then the sets that count the peer. ARGV: seconds, member, then fields and values.
  static const Script script(
      "redis.call('HSET', KEYS[1], unpack(ARGV, 3))\n"
      "redis.call('EXPIRE', KEYS[1], ARGV[1])\n"
      "for i = 2, #KEYS do\n"
      "  redis.call('SADD', KEYS[i], ARGV[2])\n"
      "  if redis.call('TTL', KEYS[i]) < tonumber(ARGV[1]) then redis.call('EXPIRE', KEYS[i], ARGV[1]) end\n"
      "end\n"
      "return true\n");
  return script;
}

const Script& UpdateRecord() {
  // KEYS: the hash. ARGV: fields and values. 0 when there is no such hash.
  static const Script script(
      "if redis.call('EXISTS', KEYS[1]) == 0 then return 0 end\n"
      "redis.call('HSET', KEYS[1], unpack(ARGV))\n"
      "return 1\n");
  return script;
}

const Script& DeletePeer() {
  // KEYS: the hash, then the sets. ARGV: member.
  static const Script script(
      "redis.call('DEL', KEYS[1])\n"
      "for i = 2, #KEYS do redis.call('SREM', KEYS[i], ARGV[1]) end\n"
      "return true\n");
  return script;
}

const Script& StoreHost() {
  // KEYS: the hash, the set of hosts. ARGV: member, then fields and values.
  static const Script script(
      "redis.call('HSET', KEYS[1], unpack(ARGV, 2))\n"
      "redis.call('SADD', KEYS[2], ARGV[1])\n"
      "return true\n");
  return script;
}

const Script& TakeLock() {
  // KEYS: the lock. ARGV: owner, milliseconds. 1 when it is the owner's now.
  static const Script script(
      "local holder = redis.call('GET', KEYS[1])\n"
      "if holder and holder ~= ARGV[1] then return 0 end\n"
      "redis.call('SET', KEYS[1], ARGV[1], 'PX', ARGV[2])\n"
      "return 1\n");
  return script;
}

void Append(const Fields& fields, std::vector<std::string>& out) {
  for (const auto& [name, value] : fields) {
    out.push_back(name);
    out.push_back(value);
  }
}

// A cluster refuses scripts over keys of several nodes; the names of the keys are not ours to change, so there each key
// is changed by itself.
bool Crosses(const absl::Status& status) { return redis::IsError(status, "CROSSSLOT"); }

class RedisStore final : public PersistentStore {
 public:
  RedisStore(std::unique_ptr<redis::Client> client, uint64_t cluster_id)
      : client_(std::move(client)), prefix_(StrCat("scheduler:scheduler-clusters:", cluster_id, ":")) {}

  absl::StatusOr<PersistentTask> LoadTask(const std::string& id) override {
    DF_ASSIGN_OR_RETURN(const Fields fields, Read(TaskKey(id)));
    if (fields.empty()) return absl::NotFoundError(StrCat("persistent cache task ", id, " not found"));
    return TaskOf(fields);
  }

  absl::Status Store(const PersistentTask& task) override {
    std::vector<std::string> arguments = {SecondsLeft(task)};
    Append(ToFields(task), arguments);
    return client_->RunScript(StoreRecord(), {TaskKey(task.id)}, arguments).status();
  }

  absl::Status DeleteTask(const std::string& id) override { return client_->Run({"DEL", TaskKey(id)}).status(); }

  absl::StatusOr<std::vector<PersistentTask>> ListTasks() override {
    const std::string prefix = TaskKey("");
    std::vector<std::string> keys;
    std::string cursor = "0";
    do {
      DF_ASSIGN_OR_RETURN(const redis::Reply reply,
                          client_->Run({"SCAN", cursor, "MATCH", StrCat(prefix, "*"), "COUNT", "1000"}));
      if (reply.array.size() != 2) return absl::InternalError("redis: SCAN answered something else");
      cursor = reply.array[0].text;
      DF_ASSIGN_OR_RETURN(const std::vector<std::string> found, reply.array[1].Texts());
      for (const std::string& key : found) {
        // The sets of a task have its key and a suffix.
        if (key.find(':', prefix.size()) == std::string::npos) keys.push_back(key);
      }
    } while (cursor != "0");
    DF_ASSIGN_OR_RETURN(const std::vector<Fields> records, ReadAll(keys));
    std::vector<PersistentTask> tasks;
    for (const Fields& fields : records) {
      absl::StatusOr<PersistentTask> task = TaskOf(fields);
      if (task.ok()) tasks.push_back(*std::move(task));
    }
    return tasks;
  }

  absl::StatusOr<PersistentPeer> LoadPeer(const std::string& id) override {
    DF_ASSIGN_OR_RETURN(const Fields fields, Read(PeerKey(id)));
    if (fields.empty()) return absl::NotFoundError(StrCat("persistent cache peer ", id, " not found"));
    return PeerOf(fields);
  }

  absl::Status Store(const PersistentPeer& peer, const PersistentTask& task) override {
    std::vector<std::string> keys = {PeerKey(peer.id), AllPeersKey(task.id), HostPeersKey(peer.host_id)};
    if (peer.persistent) keys.push_back(PersistentPeersKey(task.id));
    std::vector<std::string> arguments = {SecondsLeft(task), peer.id};
    Append(ToFields(peer), arguments);
    const absl::Status stored = client_->RunScript(StorePeer(), keys, arguments).status();
    if (!Crosses(stored)) return stored;
    arguments.erase(arguments.begin() + 1);
    DF_RETURN_IF_ERROR(client_->RunScript(StoreRecord(), {keys[0]}, arguments).status());
    for (size_t i = 1; i < keys.size(); ++i) {
      DF_RETURN_IF_ERROR(client_->RunScript(AddMember(), {keys[i]}, {arguments[0], peer.id}).status());
    }
    return absl::OkStatus();
  }

  absl::Status Update(const PersistentPeer& peer) override {
    Fields fields = ToFields(peer);
    std::erase_if(fields, [](const auto& field) {
      return field.first != "state" && field.first != "finished_pieces" && field.first != "block_parents" &&
             field.first != "cost" && field.first != "updated_at";
    });
    std::vector<std::string> arguments;
    Append(fields, arguments);
    DF_ASSIGN_OR_RETURN(const redis::Reply reply, client_->RunScript(UpdateRecord(), {PeerKey(peer.id)}, arguments));
    if (reply.integer == 1) return absl::OkStatus();
    return absl::NotFoundError(StrCat("persistent cache peer ", peer.id, " not found"));
  }

  absl::Status Delete(const PersistentPeer& peer) override {
    const std::vector<std::string> keys = {PeerKey(peer.id), AllPeersKey(peer.task_id),
                                           PersistentPeersKey(peer.task_id), HostPeersKey(peer.host_id)};
    const absl::Status deleted = client_->RunScript(DeletePeer(), keys, {peer.id}).status();
    if (!Crosses(deleted)) return deleted;
    std::vector<Command> commands = {{"DEL", keys[0]}};
    for (size_t i = 1; i < keys.size(); ++i) commands.push_back({"SREM", keys[i], peer.id});
    return client_->RunAll(commands).status();
  }

  absl::StatusOr<std::vector<PersistentPeer>> PeersOf(const std::string& task_id) override {
    DF_ASSIGN_OR_RETURN(const std::vector<std::string> ids, Members(AllPeersKey(task_id)));
    std::vector<std::string> keys;
    for (const std::string& id : ids) keys.push_back(PeerKey(id));
    DF_ASSIGN_OR_RETURN(const std::vector<Fields> records, ReadAll(keys));
    std::vector<PersistentPeer> peers;
    std::vector<Command> strikes;
    for (size_t i = 0; i < ids.size(); ++i) {
      if (records[i].empty()) {
        strikes.push_back({"SREM", AllPeersKey(task_id), ids[i]});
        strikes.push_back({"SREM", PersistentPeersKey(task_id), ids[i]});
        continue;
      }
      DF_ASSIGN_OR_RETURN(PersistentPeer peer, PeerOf(records[i]));
      peers.push_back(std::move(peer));
    }
    if (!strikes.empty()) DF_RETURN_IF_ERROR(client_->RunAll(strikes).status());
    return peers;
  }

  absl::StatusOr<Counts> CountsOf(const std::string& task_id) override {
    DF_ASSIGN_OR_RETURN(const std::vector<redis::Reply> replies,
                        client_->RunAll({{"SCARD", PersistentPeersKey(task_id)}, {"SCARD", AllPeersKey(task_id)}}));
    Counts counts;
    counts.persistent = static_cast<uint64_t>(std::max<int64_t>(0, replies[0].integer));
    counts.all = static_cast<uint64_t>(std::max<int64_t>(0, replies[1].integer));
    return counts;
  }

  absl::StatusOr<PersistentHost> LoadHost(const std::string& id) override {
    DF_ASSIGN_OR_RETURN(const Fields fields, Read(HostKey(id)));
    if (fields.empty()) return absl::NotFoundError(StrCat("host ", id, " not found"));
    return HostOf(fields);
  }

  absl::Status Store(const PersistentHost& host) override {
    const std::string& id = host.wire.id();
    std::vector<std::string> arguments = {id};
    Append(ToFields(host), arguments);
    const absl::Status stored = client_->RunScript(StoreHost(), {HostKey(id), HostsKey()}, arguments).status();
    if (!Crosses(stored)) return stored;
    Command command = {"HSET", HostKey(id)};
    command.insert(command.end(), arguments.begin() + 1, arguments.end());
    return client_->RunAll({command, {"SADD", HostsKey(), id}}).status();
  }

  absl::Status DeleteHost(const std::string& id) override {
    return client_->RunAll({{"DEL", HostKey(id)}, {"SREM", HostsKey(), id}}).status();
  }

  absl::StatusOr<std::vector<PersistentHost>> ListHosts() override {
    DF_ASSIGN_OR_RETURN(const std::vector<std::string> ids, Members(HostsKey()));
    std::vector<std::string> keys;
    for (const std::string& id : ids) keys.push_back(HostKey(id));
    DF_ASSIGN_OR_RETURN(const std::vector<Fields> records, ReadAll(keys));
    std::vector<PersistentHost> hosts;
    for (const Fields& fields : records) {
      absl::StatusOr<PersistentHost> host = HostOf(fields);
      if (host.ok()) hosts.push_back(*std::move(host));
    }
    return hosts;
  }

  absl::StatusOr<bool> TakeTurn(const std::string& work, const std::string& owner, absl::Duration duration) override {
    DF_ASSIGN_OR_RETURN(const redis::Reply reply, client_->RunScript(TakeLock(), {StrCat(prefix_, work)},
                                                                     {owner, StrCat(ToInt64Milliseconds(duration))}));
    return reply.integer == 1;
  }

 private:
  std::string TaskKey(const std::string& id) const { return StrCat(prefix_, "persistent-cache-tasks:", id); }
  std::string AllPeersKey(const std::string& task) const { return StrCat(TaskKey(task), ":persistent-cache-peers"); }
  std::string PersistentPeersKey(const std::string& task) const { return StrCat(TaskKey(task), ":persistent-peers"); }
  std::string PeerKey(const std::string& id) const { return StrCat(prefix_, "persistent-cache-peers:", id); }
  std::string HostsKey() const { return StrCat(prefix_, "persistent-cache-hosts"); }
  std::string HostKey(const std::string& id) const { return StrCat(HostsKey(), ":", id); }
  std::string HostPeersKey(const std::string& host) const { return StrCat(HostKey(host), ":persistent-cache-peers"); }

  // Whole seconds, cut; a key with none left is removed by the server.
  static std::string SecondsLeft(const PersistentTask& task) {
    return StrCat(absl::ToInt64Seconds(task.Left(absl::Now())));
  }

  absl::StatusOr<Fields> Read(const std::string& key) {
    DF_ASSIGN_OR_RETURN(const redis::Reply reply, client_->Run({"HGETALL", key}));
    return reply.Fields();
  }

  // One round trip; an empty element for a key that is not there.
  absl::StatusOr<std::vector<Fields>> ReadAll(const std::vector<std::string>& keys) {
    std::vector<Command> commands;
    for (const std::string& key : keys) commands.push_back({"HGETALL", key});
    DF_ASSIGN_OR_RETURN(const std::vector<redis::Reply> replies, client_->RunAll(commands));
    std::vector<Fields> records;
    for (const redis::Reply& reply : replies) {
      DF_ASSIGN_OR_RETURN(Fields fields, reply.Fields());
      records.push_back(std::move(fields));
    }
    return records;
  }

  absl::StatusOr<std::vector<std::string>> Members(const std::string& key) {
    DF_ASSIGN_OR_RETURN(const redis::Reply reply, client_->Run({"SMEMBERS", key}));
    return reply.Texts();
  }

  const std::unique_ptr<redis::Client> client_;
  const std::string prefix_;
};

}  // namespace

std::unique_ptr<PersistentStore> MakeRedisPersistentStore(std::unique_ptr<redis::Client> client, uint64_t cluster_id) {
  return std::make_unique<RedisStore>(std::move(client), cluster_id);
}

}  // namespace dragonfly::scheduler
