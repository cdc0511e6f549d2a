// SPDX-License-Identifier: Apache-2.0
// Where persistent cache tasks are kept: in the Redis that all schedulers of a cluster share, or in a file of this
// scheduler. Both keep what they were told over restarts, and forget a task and its peers when its time is over.
#pragma once

#include <cstdint>
#include <memory>
#include <string>
#include <string_view>
#include <vector>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "redis/client.h"
#include "scheduler/persistent_model.h"

namespace dragonfly::scheduler {

// Every call blocks on the disk or the network. Thread-safe. Errors of all: UNAVAILABLE and others of the engine;
// INTERNAL for a record that does not parse.
class PersistentStore {
 public:
  virtual ~PersistentStore() = default;

  // NOT_FOUND "persistent cache task <id> not found".
  virtual absl::StatusOr<PersistentTask> LoadTask(const std::string& id) = 0;
  // Lives for what is left of its time; with nothing left it is removed.
  virtual absl::Status Store(const PersistentTask& task) = 0;
  virtual absl::Status DeleteTask(const std::string& id) = 0;
  virtual absl::StatusOr<std::vector<PersistentTask>> ListTasks() = 0;

  // NOT_FOUND "persistent cache peer <id> not found".
  virtual absl::StatusOr<PersistentPeer> LoadPeer(const std::string& id) = 0;
  // Lives as long as `task`, and counts among its peers.
  virtual absl::Status Store(const PersistentPeer& peer, const PersistentTask& task) = 0;
  // What a running download changes: state, pieces, blocked parents, cost. A peer that is gone is not made again:
  // NOT_FOUND.
  virtual absl::Status Update(const PersistentPeer& peer) = 0;
  // With all that counts it. One that is not there is no error.
  virtual absl::Status Delete(const PersistentPeer& peer) = 0;
  // The peers of a task. Members that have no record any more are left out and struck off.
  virtual absl::StatusOr<std::vector<PersistentPeer>> PeersOf(const std::string& task_id) = 0;

  struct Counts {
    uint64_t persistent = 0;
    uint64_t all = 0;
  };
  virtual absl::StatusOr<Counts> CountsOf(const std::string& task_id) = 0;

  // NOT_FOUND "host <id> not found".
  virtual absl::StatusOr<PersistentHost> LoadHost(const std::string& id) = 0;
  virtual absl::Status Store(const PersistentHost& host) = 0;
  virtual absl::Status DeleteHost(const std::string& id) = 0;
  virtual absl::StatusOr<std::vector<PersistentHost>> ListHosts() = 0;

  // True when this scheduler (`owner`) is the one that does `work` for the next `duration`, also when it was before.
  virtual absl::StatusOr<bool> TakeTurn(const std::string& work, const std::string& owner, absl::Duration duration) = 0;
};

// Keys, types and scripts: dragonfly v2.3.0, pkg/redis/redis.go and scheduler/resource/persistentcache/*_manager.go, so
// that original schedulers and managers read and write the same.
std::unique_ptr<PersistentStore> MakeRedisPersistentStore(std::unique_ptr<redis::Client> client, uint64_t cluster_id);

// A SQLite file at `path`, made at the first write. Errors: of opening an existing one.
absl::StatusOr<std::unique_ptr<PersistentStore>> OpenEmbeddedPersistentStore(std::string path);

}  // namespace dragonfly::scheduler
