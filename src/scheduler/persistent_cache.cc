// SPDX-License-Identifier: Apache-2.0
#include "scheduler/persistent_cache.h"

#include <utility>

#include "absl/hash/hash.h"
#include "base/status.h"
#include "scheduler/persistent_message.h"

namespace dragonfly::scheduler {

bool AwayHosts::Contains(const std::string& host_id) const {
  const absl::MutexLock lock(&mutex_);
  return away_.contains(host_id);
}

void AwayHosts::Set(const std::string& host_id, bool away) {
  const absl::MutexLock lock(&mutex_);
  if (away) {
    away_[host_id] = true;
  } else {
    away_.erase(host_id);
  }
}

PersistentCache::PersistentCache(PersistentStore& store, HostTable& hosts, AwayHosts& away, Options options)
    : store_(store), hosts_(hosts), away_(away), options_(options) {}

absl::Mutex& PersistentCache::LockOf(const std::string& task_id) {
  return locks_[absl::HashOf(task_id) % locks_.size()];
}

bool PersistentCache::Alive(const std::string& host_id) const { return !away_.Contains(host_id); }

absl::StatusOr<common::v2::Host> PersistentCache::FindHost(const std::string& host_id) {
  if (const std::shared_ptr<Host> host = hosts_.Find(host_id)) return *host->facts()->announced;
  DF_ASSIGN_OR_RETURN(PersistentHost host, store_.LoadHost(host_id));
  return std::move(host.wire);
}

absl::StatusOr<std::vector<common::v2::Host>> PersistentCache::LivingHosts() {
  std::vector<common::v2::Host> living;
  for (const std::shared_ptr<Host>& host : hosts_.List()) living.push_back(*host->facts()->announced);
  DF_ASSIGN_OR_RETURN(std::vector<PersistentHost> stored, store_.ListHosts());
  const absl::Time now = absl::Now();
  for (PersistentHost& host : stored) {
    const bool silent = host.announce_interval > absl::ZeroDuration() &&
                        now - host.updated_at > 2 * host.announce_interval + absl::Seconds(1);
    if (!silent && hosts_.Find(host.wire.id()) == nullptr) living.push_back(std::move(host.wire));
  }
  return living;
}

absl::StatusOr<ReplicaPlace> PersistentCache::PlaceOf(PersistentPeer peer) {
  DF_ASSIGN_OR_RETURN(const common::v2::Host host, FindHost(peer.host_id));
  ReplicaPlace place;
  place.peer = std::move(peer);
  place.ip = host.ip();
  place.port = host.download_port() > 0 ? host.download_port() : host.port();
  return place;
}

absl::Status PersistentCache::StoreHost(const HostFacts& facts) {
  PersistentHost host;
  host.wire = *facts.announced;
  host.announce_interval = absl::FromChrono(facts.announce_interval);
  host.created_at = host.updated_at = absl::Now();
  if (const auto before = store_.LoadHost(facts.id); before.ok()) host.created_at = before->created_at;
  return store_.Store(host);
}

absl::StatusOr<common::v2::PersistentCacheTask> PersistentCache::Describe(const PersistentTask& task) {
  DF_ASSIGN_OR_RETURN(const std::vector<PersistentPeer> peers, store_.PeersOf(task.id));
  common::v2::PersistentCacheTask out;
  for (const PersistentPeer& peer : peers) {
    if (peer.state != PersistentPeerState::kSucceeded || !Alive(peer.host_id)) continue;
    out.set_current_replica_count(out.current_replica_count() + 1);
    if (peer.persistent) out.set_current_persistent_replica_count(out.current_persistent_replica_count() + 1);
  }
  Fill(task, &out);
  return out;
}

absl::StatusOr<common::v2::PersistentCacheTask> PersistentCache::StatTask(const std::string& task_id) {
  DF_RETURN_IF_ERROR(CheckId("StatPersistentCacheTaskRequest", "TaskId", task_id));
  DF_ASSIGN_OR_RETURN(const PersistentTask task, store_.LoadTask(task_id));
  return Describe(task);
}

absl::StatusOr<common::v2::PersistentCachePeer> PersistentCache::StatPeer(const std::string& peer_id) {
  DF_RETURN_IF_ERROR(CheckId("StatPersistentCachePeerRequest", "PeerId", peer_id));
  DF_ASSIGN_OR_RETURN(const PersistentPeer peer, store_.LoadPeer(peer_id));
  DF_ASSIGN_OR_RETURN(const PersistentTask task, store_.LoadTask(peer.task_id));
  common::v2::PersistentCachePeer out;
  Fill(peer, &out);
  DF_ASSIGN_OR_RETURN(*out.mutable_task(), Describe(task));
  DF_ASSIGN_OR_RETURN(*out.mutable_host(), FindHost(peer.host_id));
  return out;
}

absl::StatusOr<ReplicaPlace> PersistentCache::DeletePeer(const std::string& peer_id) {
  DF_RETURN_IF_ERROR(CheckId("DeletePersistentCachePeerRequest", "PeerId", peer_id));
  DF_ASSIGN_OR_RETURN(PersistentPeer peer, store_.LoadPeer(peer_id));
  const absl::MutexLock lock(&LockOf(peer.task_id));
  DF_RETURN_IF_ERROR(store_.Delete(peer));
  absl::StatusOr<ReplicaPlace> place = PlaceOf(peer);
  if (place.ok()) return place;
  ReplicaPlace nowhere;
  nowhere.peer = std::move(peer);
  return nowhere;
}

absl::StatusOr<std::vector<ReplicaPlace>> PersistentCache::DeleteTask(const std::string& task_id) {
  DF_RETURN_IF_ERROR(CheckId("DeletePersistentCacheTaskRequest", "TaskId", task_id));
  const absl::MutexLock lock(&LockOf(task_id));
  DF_ASSIGN_OR_RETURN(std::vector<PersistentPeer> peers, store_.PeersOf(task_id));
  // The task first: a host that is away asks for it when it is back, and learns that its copy is of no use any more.
  DF_RETURN_IF_ERROR(store_.DeleteTask(task_id));
  std::vector<ReplicaPlace> places;
  for (PersistentPeer& peer : peers) {
    DF_RETURN_IF_ERROR(store_.Delete(peer));
    absl::StatusOr<ReplicaPlace> place = PlaceOf(std::move(peer));
    if (place.ok()) places.push_back(*std::move(place));
  }
  return places;
}

}  // namespace dragonfly::scheduler
