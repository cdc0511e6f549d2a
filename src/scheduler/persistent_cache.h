// SPDX-License-Identifier: Apache-2.0
// What the scheduler decides about persistent cache tasks: files that peers keep, in so many replicas, for a time. The
// dialogue: dragonfly v2.3.0, scheduler/service/service_v2.go; where we differ, docs/persistent-cache.md says why.
// Three rooms: imports (persistent_import.cc), downloads (persistent_download.cc), replicas
// (persistent_replication.cc).
#pragma once

#include <array>
#include <functional>
#include <memory>
#include <optional>
#include <string>
#include <vector>

#include "absl/base/thread_annotations.h"
#include "absl/container/flat_hash_map.h"
#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "absl/synchronization/mutex.h"
#include "scheduler/host_table.h"
#include "scheduler/persistent_store.h"
#include "scheduler/v2/scheduler.pb.h"

namespace dragonfly::scheduler {

// Which hosts are away, as the healing has seen it last. Thread-safe.
class AwayHosts {
 public:
  bool Contains(const std::string& host_id) const;
  void Set(const std::string& host_id, bool away);

 private:
  mutable absl::Mutex mutex_;
  absl::flat_hash_map<std::string, bool> away_ ABSL_GUARDED_BY(mutex_);
};

// Where a copy lies.
struct ReplicaPlace {
  ReplicaPlace() = default;
  PersistentPeer peer;
  std::string ip;
  int32_t port = 0;  // of the DfdaemonUpload service
};

// A host that shall get a replica.
struct ReplicaHost {
  ReplicaHost() = default;
  std::string id;
  std::string ip;
  int32_t port = 0;  // of the DfdaemonUpload service
};

// What is to be done so that a task has its replicas again.
struct ReplicationPlan {
  ReplicationPlan() = default;
  PersistentTask task;
  std::vector<ReplicaPlace> promote;  // copies that only have to be kept from now on
  std::vector<ReplicaHost> download;  // hosts that shall get one
  std::vector<ReplicaPlace> remove;   // what an import that came to no end has left
  uint64_t missing = 0;               // replicas for which there is neither
};

// One download of one peer, between the messages of its stream.
struct PersistentDownload {
  PersistentDownload() = default;
  bool registered = false;
  PersistentTask task;
  PersistentPeer peer;
};

// Thread-safe. Every call blocks on the store: run it on a pool. Calls about one task come one after another.
class PersistentCache {
 public:
  struct Options {
    Options() = default;
    size_t candidate_limit = 4;
    absl::Duration running_max = absl::Minutes(30);  // a download without news for longer is over
  };
  // All must outlive it.
  PersistentCache(PersistentStore& store, HostTable& hosts, AwayHosts& away, Options options);

  // Takes the place of an import that has not ended and whose importer is away or asks itself. `left` gets what of that
  // one must be removed before this one goes on.
  absl::Status UploadStarted(const ::scheduler::v2::UploadPersistentCacheTaskStartedRequest& request,
                             std::vector<ReplicaPlace>* left);
  absl::StatusOr<common::v2::PersistentCacheTask> UploadFinished(
      const ::scheduler::v2::UploadPersistentCacheTaskFinishedRequest& request);
  // Nothing stays of a task whose only import has failed: tells where the copies lie that were made along with it.
  absl::StatusOr<std::vector<ReplicaPlace>> UploadFailed(
      const ::scheduler::v2::UploadPersistentCacheTaskFailedRequest& request);
  absl::StatusOr<common::v2::PersistentCacheTask> StatTask(const std::string& task_id);
  absl::StatusOr<common::v2::PersistentCachePeer> StatPeer(const std::string& peer_id);
  // Forgets the peer, and tells where its copy lies.
  absl::StatusOr<ReplicaPlace> DeletePeer(const std::string& peer_id);
  // Forgets the task with all its peers, and tells where the copies lie.
  absl::StatusOr<std::vector<ReplicaPlace>> DeleteTask(const std::string& task_id);

  // What a message of AnnouncePersistentCachePeer leads to.
  struct Answer {
    Answer() = default;
    std::optional<::scheduler::v2::AnnouncePersistentCachePeerResponse> response;
    bool ends = false;      // the stream, with OK
    bool finished = false;  // a replica is complete
  };
  absl::StatusOr<Answer> Handle(const ::scheduler::v2::AnnouncePersistentCachePeerRequest& request,
                                PersistentDownload& download);
  // The stream is over: a peer that has not finished is forgotten.
  void Ended(PersistentDownload& download);

  absl::Status StoreHost(const HostFacts& facts);

  // `in_flight`: hosts that are getting a replica now; `unfit`: that shall not get one. Also strikes off what is lost
  // for good: copies of hosts that are away, unless they are the last, downloads that nobody speaks of any more, and an
  // import whose importer is away. Replicas of a task that is still being imported are made of its importer's pieces.
  absl::StatusOr<ReplicationPlan> PlanReplication(const std::string& task_id, const std::vector<std::string>& in_flight,
                                                  const std::vector<std::string>& unfit);
  absl::Status Promote(const ReplicaPlace& place);
  // Forgets copies that their hosts say are not there, also the last of a task: it comes back only with another import,
  // or when its host tells of it again.
  absl::Status Strike(const std::vector<std::string>& peer_ids);

 private:
  // Forgets peers of an import that has not ended well, and the task when no copy from before it is left.
  absl::StatusOr<std::vector<ReplicaPlace>> DropImport(PersistentTask task, std::vector<PersistentPeer> peers);
  absl::Status PlanImporting(const std::vector<PersistentPeer>& peers, const std::vector<std::string>& in_flight,
                             const std::vector<std::string>& unfit, ReplicationPlan* plan);
  // Picks at most `need` hosts that are not `taken`; returns how many are missing.
  absl::StatusOr<uint64_t> PickHosts(uint64_t need, const std::vector<std::string>& taken, ReplicationPlan* plan);
  absl::Mutex& LockOf(const std::string& task_id);
  bool Alive(const std::string& host_id) const;
  // As announced, or as another scheduler has written it. NOT_FOUND "host <id> not found".
  absl::StatusOr<common::v2::Host> FindHost(const std::string& host_id);
  absl::StatusOr<ReplicaPlace> PlaceOf(PersistentPeer peer);
  // All that have announced themselves lately, here or to another scheduler.
  absl::StatusOr<std::vector<common::v2::Host>> LivingHosts();
  absl::StatusOr<common::v2::PersistentCacheTask> Describe(const PersistentTask& task);
  absl::StatusOr<Answer> Register(const ::scheduler::v2::AnnouncePersistentCachePeerRequest& request,
                                  PersistentDownload& download);
  absl::StatusOr<Answer> Offer(PersistentDownload& download);
  absl::Status Save(PersistentDownload& download, PersistentPeerState state);

  PersistentStore& store_;
  HostTable& hosts_;
  AwayHosts& away_;
  const Options options_;
  std::array<absl::Mutex, 64> locks_;
};

}  // namespace dragonfly::scheduler
