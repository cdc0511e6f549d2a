// SPDX-License-Identifier: Apache-2.0
#include "scheduler/persistent_cache.h"

#include <google/protobuf/util/time_util.h>

#include <algorithm>
#include <random>
#include <set>
#include <utility>

#include "absl/hash/hash.h"
#include "base/ids.h"
#include "base/status.h"
#include "base/text.h"
#include "scheduler/evaluator.h"
#include "telemetry/log.h"

namespace dragonfly::scheduler {
namespace {

namespace api = ::scheduler::v2;

// dragonfly v2.3.0, scheduler/scheduling/evaluator/evaluator_base.go, for persistent cache peers.
constexpr double kPieceWeight = 0.2;
constexpr double kIdcWeight = 0.15;
constexpr double kLocationWeight = 0.15;

constexpr uint64_t kReplicasMax = 5;  // of the API
constexpr absl::Duration kPiecesWrittenEvery = absl::Seconds(1);

google::protobuf::Timestamp ToTimestamp(absl::Time time) {
  return google::protobuf::util::TimeUtil::NanosecondsToTimestamp(absl::ToUnixNanos(time));
}
google::protobuf::Duration ToDuration(absl::Duration duration) {
  return google::protobuf::util::TimeUtil::NanosecondsToDuration(absl::ToInt64Nanoseconds(duration));
}

absl::Status Invalid(std::string_view message, std::string_view field, std::string_view reason) {
  return absl::InvalidArgumentError(StrCat("invalid ", message, ".", field, ": ", reason));
}

absl::Status CheckId(std::string_view message, std::string_view field, const std::string& id) {
  if (id.empty()) return Invalid(message, field, "value length must be at least 1 runes");
  if (id.size() > kNameIdLengthMax) {
    return Invalid(message, field, StrCat("value length must be at most ", kNameIdLengthMax, " bytes"));
  }
  return absl::OkStatus();
}

absl::Status CheckUpload(const api::UploadPersistentCacheTaskStartedRequest& request) {
  constexpr std::string_view kName = "UploadPersistentCacheTaskStartedRequest";
  DF_RETURN_IF_ERROR(CheckId(kName, "HostId", request.host_id()));
  DF_RETURN_IF_ERROR(CheckId(kName, "TaskId", request.task_id()));
  DF_RETURN_IF_ERROR(CheckId(kName, "PeerId", request.peer_id()));
  if (request.persistent_replica_count() < 1 || request.persistent_replica_count() > kReplicasMax) {
    return Invalid(kName, "PersistentReplicaCount", StrCat("value must be inside range [1, ", kReplicasMax, "]"));
  }
  if (request.piece_length() < kPieceLengthMin) {
    return Invalid(kName, "PieceLength", "value must be greater than or equal to 4194304");
  }
  const auto layout = PieceLayout::Make(request.content_length(), request.piece_length());
  if (!layout.ok() || layout->piece_count() != request.piece_count()) {
    return Invalid(kName, "PieceCount", "value does not follow from the lengths");
  }
  const int64_t seconds = request.ttl().seconds();
  if (seconds < 300 || seconds > 604800) return Invalid(kName, "Ttl", "value must be inside range [5m0s, 168h0m0s]");
  return absl::OkStatus();
}

// An order of all peers that every scheduler sees alike. A peer that is downloading itself is offered to younger ones
// only: two that wait for each other's pieces would wait in vain when their common parent dies.
bool IsOlder(const PersistentPeer& a, const PersistentPeer& b) {
  const int64_t a_second = absl::ToUnixSeconds(a.created_at);
  const int64_t b_second = absl::ToUnixSeconds(b.created_at);
  return a_second != b_second ? a_second < b_second : a.id < b.id;
}

// An importer gives its pieces as it takes them in.
bool CanServe(PersistentPeerState state) {
  return state == PersistentPeerState::kRunning || state == PersistentPeerState::kSucceeded ||
         state == PersistentPeerState::kUploading;
}

// A copy that a task had before it was imported anew.
bool IsFromBefore(const PersistentPeer& peer, const PersistentTask& task) {
  return peer.state == PersistentPeerState::kSucceeded &&
         absl::ToUnixSeconds(peer.created_at) < absl::ToUnixSeconds(task.created_at);
}

bool Contains(const std::vector<std::string>& ids, const std::string& id) {
  return std::find(ids.begin(), ids.end(), id) != ids.end();
}

}  // namespace

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
  out.set_id(task.id);
  out.set_persistent_replica_count(task.persistent_replica_count);
  out.set_tag(task.tag);
  out.set_application(task.application);
  out.set_piece_length(task.piece_length);
  out.set_content_length(task.content_length);
  out.set_piece_count(task.piece_count);
  out.set_state(std::string(TextOf(task.state)));
  *out.mutable_ttl() = ToDuration(task.ttl);
  *out.mutable_created_at() = ToTimestamp(task.created_at);
  *out.mutable_updated_at() = ToTimestamp(task.updated_at);
  return out;
}

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
  out.set_id(peer.id);
  out.set_persistent(peer.persistent);
  *out.mutable_cost() = ToDuration(peer.cost);
  out.set_state(std::string(TextOf(peer.state)));
  DF_ASSIGN_OR_RETURN(*out.mutable_task(), Describe(task));
  DF_ASSIGN_OR_RETURN(*out.mutable_host(), FindHost(peer.host_id));
  *out.mutable_created_at() = ToTimestamp(peer.created_at);
  *out.mutable_updated_at() = ToTimestamp(peer.updated_at);
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

absl::Status PersistentCache::Save(PersistentDownload& download, PersistentPeerState state) {
  download.peer.state = state;
  download.peer.updated_at = absl::Now();
  return store_.Update(download.peer);
}

absl::StatusOr<PersistentCache::Answer> PersistentCache::Register(
    const api::AnnouncePersistentCachePeerRequest& request, PersistentDownload& download) {
  const absl::MutexLock lock(&LockOf(request.task_id()));
  const auto& registration = request.register_persistent_cache_peer_request();
  DF_RETURN_IF_ERROR(FindHost(request.host_id()).status());
  absl::StatusOr<PersistentTask> task = store_.LoadTask(request.task_id());
  if (absl::IsNotFound(task.status())) return absl::NotFoundError(StrCat("task ", request.task_id(), " not found"));
  DF_RETURN_IF_ERROR(task.status());
  // Of a task that is still being imported replicas are made, and nothing else.
  const bool replica = task->state == PersistentTaskState::kUploading && registration.persistent();
  if (task->state != PersistentTaskState::kSucceeded && !replica) {
    return absl::InternalError("persistent cache task is not succeeded");
  }
  download.task = *std::move(task);
  download.peer = PersistentPeer();
  download.peer.id = request.peer_id();
  download.peer.task_id = request.task_id();
  download.peer.host_id = request.host_id();
  download.peer.persistent = registration.persistent();
  download.peer.created_at = download.peer.updated_at = absl::Now();
  Answer answer;
  if (download.task.content_length == 0) {
    download.peer.state = PersistentPeerState::kReceivedEmpty;
    answer.response.emplace().mutable_empty_persistent_cache_task_response();
  } else {
    download.peer.state = PersistentPeerState::kReceivedNormal;
    DF_ASSIGN_OR_RETURN(answer, Offer(download));
  }
  DF_RETURN_IF_ERROR(store_.Store(download.peer, download.task));
  download.registered = true;
  if (const auto host = hosts_.Find(request.host_id())) DF_RETURN_IF_ERROR(StoreHost(*host->facts()));
  return answer;
}

absl::StatusOr<PersistentCache::Answer> PersistentCache::Offer(PersistentDownload& download) {
  DF_ASSIGN_OR_RETURN(const common::v2::Host child, FindHost(download.peer.host_id));
  DF_ASSIGN_OR_RETURN(const std::vector<PersistentPeer> peers, store_.PeersOf(download.task.id));
  const std::vector<std::string>& blocked = download.peer.block_parents;
  struct Candidate {
    const PersistentPeer* peer;
    common::v2::Host host;
    double score;
  };
  std::vector<Candidate> candidates;
  for (const PersistentPeer& peer : peers) {
    if (peer.id == download.peer.id || peer.host_id == download.peer.host_id || !CanServe(peer.state)) continue;
    if (std::find(blocked.begin(), blocked.end(), peer.id) != blocked.end() || !Alive(peer.host_id)) continue;
    if (peer.state == PersistentPeerState::kRunning && !IsOlder(peer, download.peer)) continue;
    absl::StatusOr<common::v2::Host> host = FindHost(peer.host_id);
    if (!host.ok() || host->disable_shared()) continue;
    const double pieces =
        download.task.piece_count == 0 ? 0 : static_cast<double>(peer.pieces.count()) / download.task.piece_count;
    const double score = kPieceWeight * pieces + kIdcWeight * score::Idc(host->network().idc(), child.network().idc()) +
                         kLocationWeight * score::Location(host->network().location(), child.network().location());
    candidates.push_back({&peer, *std::move(host), score});
  }
  if (candidates.empty()) return absl::FailedPreconditionError("no candidate parents found");
  std::sort(candidates.begin(), candidates.end(),
            [](const Candidate& a, const Candidate& b) { return a.score > b.score; });
  if (candidates.size() > options_.candidate_limit) candidates.resize(options_.candidate_limit);
  DF_ASSIGN_OR_RETURN(const common::v2::PersistentCacheTask task, Describe(download.task));
  Answer answer;
  auto& normal = *answer.response.emplace().mutable_normal_persistent_cache_task_response();
  for (Candidate& candidate : candidates) {
    common::v2::PersistentCachePeer& out = *normal.add_candidate_parents();
    out.set_id(candidate.peer->id);
    out.set_persistent(candidate.peer->persistent);
    *out.mutable_cost() = ToDuration(candidate.peer->cost);
    out.set_state(std::string(TextOf(candidate.peer->state)));
    *out.mutable_task() = task;
    *out.mutable_host() = std::move(candidate.host);
    *out.mutable_created_at() = ToTimestamp(candidate.peer->created_at);
    *out.mutable_updated_at() = ToTimestamp(candidate.peer->updated_at);
  }
  return answer;
}

absl::StatusOr<PersistentCache::Answer> PersistentCache::Handle(const api::AnnouncePersistentCachePeerRequest& request,
                                                                PersistentDownload& download) {
  using Message = api::AnnouncePersistentCachePeerRequest;
  constexpr std::string_view kName = "AnnouncePersistentCachePeerRequest";
  DF_RETURN_IF_ERROR(CheckId(kName, "HostId", request.host_id()));
  DF_RETURN_IF_ERROR(CheckId(kName, "TaskId", request.task_id()));
  DF_RETURN_IF_ERROR(CheckId(kName, "PeerId", request.peer_id()));
  const Message::RequestCase kind = request.request_case();
  if (kind == Message::kRegisterPersistentCachePeerRequest) return Register(request, download);
  if (!download.registered || request.peer_id() != download.peer.id || request.task_id() != download.peer.task_id) {
    return absl::NotFoundError(StrCat("peer ", request.peer_id(), " not found"));
  }
  const absl::MutexLock lock(&LockOf(request.task_id()));
  PersistentPeer& peer = download.peer;
  Answer answer;
  switch (kind) {
    case Message::kDownloadPersistentCachePeerStartedRequest:
      DF_RETURN_IF_ERROR(Save(download, PersistentPeerState::kRunning));
      return answer;
    case Message::kReschedulePersistentCachePeerRequest: {
      const auto block = [&peer](const std::string& id) {
        // As many as a stream may name in a life of a peer.
        constexpr size_t kBlockedMax = 1024;
        if (peer.block_parents.size() < kBlockedMax &&
            std::find(peer.block_parents.begin(), peer.block_parents.end(), id) == peer.block_parents.end()) {
          peer.block_parents.push_back(id);
        }
      };
      for (const auto& parent : request.reschedule_persistent_cache_peer_request().candidate_parents()) {
        DF_RETURN_IF_ERROR(CheckId("PersistentCachePeer", "Id", parent.id()));
        block(parent.id());
      }
      DF_RETURN_IF_ERROR(Save(download, peer.state));
      return Offer(download);
    }
    case Message::kDownloadPersistentCachePeerFinishedRequest:
      peer.pieces = FinishedPieces::All(download.task.piece_count);
      peer.cost = absl::Now() - peer.created_at;
      DF_RETURN_IF_ERROR(Save(download, PersistentPeerState::kSucceeded));
      download.registered = false;
      answer.ends = answer.finished = true;
      return answer;
    case Message::kDownloadPersistentCachePeerFailedRequest:
      DF_LOG(Info, "persistent cache task {}: peer {} has failed: {}", peer.task_id, peer.id,
             Quoted(request.download_persistent_cache_peer_failed_request().description()));
      DF_RETURN_IF_ERROR(store_.Delete(peer));
      download.registered = false;
      answer.ends = true;
      return answer;
    case Message::kDownloadPieceFinishedRequest: {
      const uint32_t number = request.download_piece_finished_request().piece().number();
      if (number >= download.task.piece_count || !peer.pieces.Set(number)) {
        return absl::InvalidArgumentError(StrCat("the task has no piece ", number));
      }
      // How far a download is only tells better parents from worse: not worth a write for each of hundreds a second.
      if (absl::Now() - peer.updated_at < kPiecesWrittenEvery) return answer;
      DF_RETURN_IF_ERROR(Save(download, peer.state));
      return answer;
    }
    case Message::kDownloadPieceFailedRequest: {
      const auto& failed = request.download_piece_failed_request();
      if (!failed.temporary()) return absl::FailedPreconditionError("download piece failed");
      constexpr size_t kBlockedMax = 1024;
      if (!failed.parent_id().empty() && failed.parent_id().size() <= kNameIdLengthMax &&
          peer.block_parents.size() < kBlockedMax) {
        peer.block_parents.push_back(failed.parent_id());
        DF_RETURN_IF_ERROR(Save(download, peer.state));
      }
      return answer;
    }
    default:
      return absl::FailedPreconditionError("receive unknow request");
  }
}

void PersistentCache::Ended(PersistentDownload& download) {
  if (!download.registered) return;
  const absl::MutexLock lock(&LockOf(download.peer.task_id));
  download.registered = false;
  const absl::Status deleted = store_.Delete(download.peer);
  if (!deleted.ok()) DF_LOG(Warn, "persistent cache peer {}: {}", download.peer.id, MessageOf(deleted));
}

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
