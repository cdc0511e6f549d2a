// SPDX-License-Identifier: Apache-2.0
// Downloads: the messages of AnnouncePersistentCachePeer, and the parents that are offered.
#include <algorithm>
#include <utility>

#include "base/ids.h"
#include "base/status.h"
#include "base/text.h"
#include "scheduler/evaluator.h"
#include "scheduler/persistent_cache.h"
#include "scheduler/persistent_message.h"
#include "telemetry/log.h"

namespace dragonfly::scheduler {
namespace {

namespace api = ::scheduler::v2;

// dragonfly v2.3.0, scheduler/scheduling/evaluator/evaluator_base.go, for persistent cache peers.
constexpr double kPieceWeight = 0.2;
constexpr double kIdcWeight = 0.15;
constexpr double kLocationWeight = 0.15;

constexpr absl::Duration kPiecesWrittenEvery = absl::Seconds(1);

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

}  // namespace

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
    Fill(*candidate.peer, &out);
    *out.mutable_task() = task;
    *out.mutable_host() = std::move(candidate.host);
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

}  // namespace dragonfly::scheduler
