// SPDX-License-Identifier: Apache-2.0
// Replicas: what is to be done so that each task has as many as it shall have.
#include <algorithm>
#include <random>
#include <set>
#include <utility>

#include "base/status.h"
#include "scheduler/persistent_cache.h"
#include "telemetry/log.h"

namespace dragonfly::scheduler {
namespace {

bool Contains(const std::vector<std::string>& ids, const std::string& id) {
  return std::find(ids.begin(), ids.end(), id) != ids.end();
}

}  // namespace

absl::StatusOr<ReplicationPlan> PersistentCache::PlanReplication(const std::string& task_id,
                                                                 const std::vector<std::string>& in_flight,
                                                                 const std::vector<std::string>& unfit) {
  const absl::MutexLock lock(&LockOf(task_id));
  ReplicationPlan plan;
  DF_ASSIGN_OR_RETURN(plan.task, store_.LoadTask(task_id));
  DF_ASSIGN_OR_RETURN(std::vector<PersistentPeer> peers, store_.PeersOf(task_id));
  if (plan.task.state != PersistentTaskState::kSucceeded) {
    DF_RETURN_IF_ERROR(PlanImporting(peers, in_flight, unfit, &plan));
    return plan;
  }

  const absl::Time now = absl::Now();
  uint64_t kept = 0;
  uint64_t copies = 0;
  std::vector<std::string> taken = in_flight;
  taken.insert(taken.end(), unfit.begin(), unfit.end());
  std::set<std::string> coming(in_flight.begin(), in_flight.end());
  std::vector<const PersistentPeer*> lost;
  std::vector<const PersistentPeer*> spare;
  for (const PersistentPeer& peer : peers) {
    const bool complete = peer.state == PersistentPeerState::kSucceeded;
    if (!Alive(peer.host_id) || (!complete && now - peer.updated_at > options_.running_max)) {
      lost.push_back(&peer);
      continue;
    }
    taken.push_back(peer.host_id);
    // What another scheduler has begun comes, too.
    if (!complete && peer.persistent) coming.insert(peer.host_id);
    if (!complete) continue;
    ++copies;
    if (peer.persistent) {
      ++kept;
    } else {
      spare.push_back(&peer);
    }
  }
  // The last copy is not given up: its host may come back.
  if (copies > 0) {
    for (const PersistentPeer* const peer : lost) {
      DF_LOG(Warn, "persistent cache task {}: the copy of host {} is lost", task_id, peer->host_id);
      DF_RETURN_IF_ERROR(store_.Delete(*peer));
    }
  }
  const uint64_t have = kept + coming.size();
  uint64_t need = plan.task.persistent_replica_count > have ? plan.task.persistent_replica_count - have : 0;
  if (copies == 0) {
    plan.missing = need;
    return plan;
  }
  for (size_t i = 0; i < spare.size() && need > 0; ++i) {
    absl::StatusOr<ReplicaPlace> place = PlaceOf(*spare[i]);
    if (!place.ok()) continue;
    plan.promote.push_back(*std::move(place));
    --need;
  }
  if (need == 0) return plan;
  DF_ASSIGN_OR_RETURN(plan.missing, PickHosts(need, taken, &plan));
  return plan;
}

absl::StatusOr<uint64_t> PersistentCache::PickHosts(uint64_t need, const std::vector<std::string>& taken,
                                                    ReplicationPlan* plan) {
  DF_ASSIGN_OR_RETURN(std::vector<common::v2::Host> hosts, LivingHosts());
  static thread_local std::minstd_rand random{std::random_device{}()};
  std::shuffle(hosts.begin(), hosts.end(), random);
  for (const common::v2::Host& host : hosts) {
    if (need == 0) break;
    if (host.disable_shared() || host.disk().free() < plan->task.content_length || !Alive(host.id()) ||
        Contains(taken, host.id())) {
      continue;
    }
    ReplicaHost chosen;
    chosen.id = host.id();
    chosen.ip = host.ip();
    chosen.port = host.download_port() > 0 ? host.download_port() : host.port();
    plan->download.push_back(std::move(chosen));
    --need;
  }
  return need;
}

absl::Status PersistentCache::PlanImporting(const std::vector<PersistentPeer>& peers,
                                            const std::vector<std::string>& in_flight,
                                            const std::vector<std::string>& unfit, ReplicationPlan* plan) {
  const auto importer = std::find_if(peers.begin(), peers.end(), [&](const PersistentPeer& peer) {
    const bool imports =
        peer.state == PersistentPeerState::kUploading || plan->task.state != PersistentTaskState::kUploading;
    return imports && Alive(peer.host_id);
  });
  if (importer == peers.end()) {
    DF_LOG(Warn, "persistent cache task {}: its importer is away; the import is forgotten", plan->task.id);
    DF_ASSIGN_OR_RETURN(plan->remove, DropImport(plan->task, peers));
    return absl::OkStatus();
  }
  if (plan->task.state != PersistentTaskState::kUploading || plan->task.content_length == 0) return absl::OkStatus();
  std::set<std::string> replicas(in_flight.begin(), in_flight.end());
  for (const PersistentPeer& peer : peers) {
    if (peer.persistent) replicas.insert(peer.host_id);
  }
  std::vector<std::string> taken(replicas.begin(), replicas.end());
  taken.insert(taken.end(), unfit.begin(), unfit.end());
  const uint64_t wanted = plan->task.persistent_replica_count;
  return PickHosts(wanted - std::min<uint64_t>(wanted, replicas.size()), taken, plan).status();
}

absl::Status PersistentCache::Promote(const ReplicaPlace& place) {
  const absl::MutexLock lock(&LockOf(place.peer.task_id));
  DF_ASSIGN_OR_RETURN(PersistentPeer peer, store_.LoadPeer(place.peer.id));
  DF_ASSIGN_OR_RETURN(const PersistentTask task, store_.LoadTask(place.peer.task_id));
  peer.persistent = true;
  return store_.Store(peer, task);
}

absl::Status PersistentCache::Strike(const std::vector<std::string>& peer_ids) {
  for (const std::string& peer_id : peer_ids) {
    const absl::StatusOr<PersistentPeer> known = store_.LoadPeer(peer_id);
    if (absl::IsNotFound(known.status())) continue;
    DF_RETURN_IF_ERROR(known.status());
    const absl::MutexLock lock(&LockOf(known->task_id));
    DF_LOG(Warn, "persistent cache task {}: host {} has lost its copy", known->task_id, known->host_id);
    DF_RETURN_IF_ERROR(store_.Delete(*known));
  }
  return absl::OkStatus();
}

}  // namespace dragonfly::scheduler
