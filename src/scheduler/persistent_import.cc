// SPDX-License-Identifier: Apache-2.0
// Imports: a task from the first word of it to its first copy, or to nothing.
#include <algorithm>
#include <utility>

#include "base/status.h"
#include "base/text.h"
#include "scheduler/persistent_cache.h"
#include "scheduler/persistent_message.h"
#include "telemetry/log.h"

namespace dragonfly::scheduler {
namespace {

namespace api = ::scheduler::v2;

// A copy that a task had before it was imported anew.
bool IsFromBefore(const PersistentPeer& peer, const PersistentTask& task) {
  return peer.state == PersistentPeerState::kSucceeded &&
         absl::ToUnixSeconds(peer.created_at) < absl::ToUnixSeconds(task.created_at);
}

}  // namespace

absl::Status PersistentCache::UploadStarted(const api::UploadPersistentCacheTaskStartedRequest& request,
                                            std::vector<ReplicaPlace>* left) {
  DF_RETURN_IF_ERROR(CheckUpload(request));
  const absl::MutexLock lock(&LockOf(request.task_id()));
  DF_RETURN_IF_ERROR(FindHost(request.host_id()).status());
  if (const auto same = store_.LoadPeer(request.peer_id()); !absl::IsNotFound(same.status())) {
    DF_RETURN_IF_ERROR(same.status());
    return absl::AlreadyExistsError(StrCat("persistent cache peer ", request.peer_id(), " already exists"));
  }
  const absl::StatusOr<PersistentTask> before = store_.LoadTask(request.task_id());
  if (!before.ok() && !absl::IsNotFound(before.status())) return before.status();
  DF_ASSIGN_OR_RETURN(std::vector<PersistentPeer> peers, store_.PeersOf(request.task_id()));
  if (before.ok() && before->state != PersistentTaskState::kPending && before->state != PersistentTaskState::kFailed) {
    // A task whose last copy is lost, or whose importer has died, may be imported anew.
    const bool importing = before->state == PersistentTaskState::kUploading;
    const bool held = std::any_of(peers.begin(), peers.end(), [&](const PersistentPeer& peer) {
      if (!Alive(peer.host_id)) return false;
      // Who imports says that it has no copy, whatever it had before.
      if (peer.host_id == request.host_id()) return false;
      if (peer.state == PersistentPeerState::kUploading) return true;
      return peer.state == PersistentPeerState::kSucceeded && (!importing || IsFromBefore(peer, *before));
    });
    if (held) {
      return absl::AlreadyExistsError(
          StrCat("persistent cache task ", request.task_id(), " is ", TextOf(before->state), " cannot upload"));
    }
    if (importing) {
      DF_ASSIGN_OR_RETURN(*left, DropImport(*before, peers));
      std::erase_if(peers, [&](const PersistentPeer& peer) { return !IsFromBefore(peer, *before); });
    }
  }
  for (const PersistentPeer& peer : peers) {
    const bool of_before = peer.state == PersistentPeerState::kSucceeded && peer.host_id != request.host_id();
    if (!of_before) DF_RETURN_IF_ERROR(store_.Delete(peer));
  }
  PersistentTask task;
  task.id = request.task_id();
  task.persistent_replica_count = request.persistent_replica_count();
  task.tag = request.tag();
  task.application = request.application();
  task.piece_length = request.piece_length();
  task.content_length = request.content_length();
  task.piece_count = request.piece_count();
  task.state = PersistentTaskState::kUploading;
  task.ttl = absl::Seconds(request.ttl().seconds());
  task.created_at = task.updated_at = absl::Now();
  DF_RETURN_IF_ERROR(store_.Store(task));
  PersistentPeer peer;
  peer.id = request.peer_id();
  peer.persistent = true;
  peer.task_id = request.task_id();
  peer.host_id = request.host_id();
  peer.state = PersistentPeerState::kUploading;
  peer.created_at = peer.updated_at = task.created_at;
  DF_RETURN_IF_ERROR(store_.Store(peer, task));
  // So that a scheduler that comes up anew knows where the copy lies.
  if (const auto host = hosts_.Find(request.host_id())) return StoreHost(*host->facts());
  return absl::OkStatus();
}

absl::StatusOr<common::v2::PersistentCacheTask> PersistentCache::UploadFinished(
    const api::UploadPersistentCacheTaskFinishedRequest& request) {
  constexpr std::string_view kName = "UploadPersistentCacheTaskFinishedRequest";
  DF_RETURN_IF_ERROR(CheckId(kName, "HostId", request.host_id()));
  DF_RETURN_IF_ERROR(CheckId(kName, "TaskId", request.task_id()));
  DF_RETURN_IF_ERROR(CheckId(kName, "PeerId", request.peer_id()));
  const absl::MutexLock lock(&LockOf(request.task_id()));
  DF_ASSIGN_OR_RETURN(PersistentPeer peer, store_.LoadPeer(request.peer_id()));
  DF_ASSIGN_OR_RETURN(PersistentTask task, store_.LoadTask(request.task_id()));
  const absl::Time now = absl::Now();
  peer.pieces = FinishedPieces::All(task.piece_count);
  peer.state = PersistentPeerState::kSucceeded;
  peer.cost = now - peer.created_at;
  peer.updated_at = now;
  DF_RETURN_IF_ERROR(store_.Store(peer, task));
  task.state = PersistentTaskState::kSucceeded;
  task.updated_at = now;
  DF_RETURN_IF_ERROR(store_.Store(task));
  return Describe(task);
}

absl::StatusOr<std::vector<ReplicaPlace>> PersistentCache::UploadFailed(
    const api::UploadPersistentCacheTaskFailedRequest& request) {
  constexpr std::string_view kName = "UploadPersistentCacheTaskFailedRequest";
  DF_RETURN_IF_ERROR(CheckId(kName, "HostId", request.host_id()));
  DF_RETURN_IF_ERROR(CheckId(kName, "TaskId", request.task_id()));
  DF_RETURN_IF_ERROR(CheckId(kName, "PeerId", request.peer_id()));
  const absl::MutexLock lock(&LockOf(request.task_id()));
  DF_ASSIGN_OR_RETURN(const PersistentPeer peer, store_.LoadPeer(request.peer_id()));
  DF_LOG(Info, "persistent cache task {}: its import on host {} has failed: {}", request.task_id(), request.host_id(),
         Quoted(request.description()));
  DF_RETURN_IF_ERROR(store_.Delete(peer));
  DF_ASSIGN_OR_RETURN(std::vector<PersistentPeer> left, store_.PeersOf(request.task_id()));
  const absl::StatusOr<PersistentTask> task = store_.LoadTask(request.task_id());
  if (task.ok() && task->state == PersistentTaskState::kUploading) return DropImport(*task, std::move(left));
  // Registered, and not acknowledged: a replica that was made of it meanwhile is as good as the first copy; what is
  // just being made of it is nothing.
  const bool copied = std::any_of(left.begin(), left.end(), [](const PersistentPeer& other) {
    return other.state == PersistentPeerState::kSucceeded;
  });
  if (copied) return std::vector<ReplicaPlace>();
  for (const PersistentPeer& other : left) DF_RETURN_IF_ERROR(store_.Delete(other));
  DF_RETURN_IF_ERROR(store_.DeleteTask(request.task_id()));
  return std::vector<ReplicaPlace>();
}

absl::StatusOr<std::vector<ReplicaPlace>> PersistentCache::DropImport(PersistentTask task,
                                                                      std::vector<PersistentPeer> peers) {
  std::vector<ReplicaPlace> places;
  bool held = false;
  for (PersistentPeer& peer : peers) {
    if (IsFromBefore(peer, task)) {
      held = true;
      continue;
    }
    DF_RETURN_IF_ERROR(store_.Delete(peer));
    if (peer.state == PersistentPeerState::kUploading || !Alive(peer.host_id)) continue;
    absl::StatusOr<ReplicaPlace> place = PlaceOf(std::move(peer));
    if (place.ok()) places.push_back(*std::move(place));
  }
  if (!held) {
    DF_RETURN_IF_ERROR(store_.DeleteTask(task.id));
    return places;
  }
  task.state = PersistentTaskState::kSucceeded;
  DF_RETURN_IF_ERROR(store_.Store(task));
  return places;
}

}  // namespace dragonfly::scheduler
