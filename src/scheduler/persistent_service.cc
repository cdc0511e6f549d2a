// SPDX-License-Identifier: Apache-2.0
#include "scheduler/persistent_service.h"

#include <google/protobuf/empty.pb.h>
#include <grpcpp/channel.h>

#include <algorithm>
#include <boost/asio/this_coro.hpp>
#include <deque>
#include <utility>

#include "base/ids.h"
#include "base/status.h"
#include "base/text.h"
#include "dfdaemon/v2/dfdaemon.grpc.pb.h"
#include "rpc/bidi_session.h"
#include "rpc/client_call.h"
#include "runtime/clock.h"
#include "runtime/for_each.h"
#include "runtime/signal.h"
#include "runtime/timeout.h"
#include "scheduler/persistent_show.h"
#include "telemetry/log.h"

namespace dragonfly::scheduler {
namespace asio = boost::asio;
namespace {

using google::protobuf::Empty;
using Upload = dfdaemon::v2::DfdaemonUpload;

constexpr size_t kStoreQueueMax = 100'000;
// Messages of one stream that wait for the store: the pieces of half a minute at 1.4 GiB/s.
constexpr size_t kInboxMax = 10'000;
constexpr size_t kInboxBytesMax = 16 << 20;
constexpr Clock::duration kCallTimeout = std::chrono::seconds(15);
// A host that makes a replica tells of its pieces; of the largest one within this time.
constexpr Clock::duration kReplicaSilenceMax = std::chrono::minutes(10);

// One unary call of DfdaemonUpload.
template <typename Request, typename Method>
asio::awaitable<absl::Status> CallPeer(rpc::ChannelPool& channels, std::string address, Request request,
                                       Method method) {
  const std::shared_ptr<Upload::Stub> stub = Upload::NewStub(channels.Get(address));
  const auto start = [stub, method](grpc::ClientContext* context, const Request* asked, Empty* answer,
                                    std::function<void(grpc::Status)> done) {
    method(*stub, context, asked, answer, std::move(done));
  };
  const auto answer = co_await rpc::Unary<Empty>(start, std::move(request), kCallTimeout);
  if (absl::IsUnavailable(answer.status())) channels.Drop(address);
  co_return Annotate(answer.status(), StrCat("dfdaemon ", address));
}

}  // namespace

// One AnnouncePersistentCachePeer stream: its messages are handled in their order, piece reports included.
class PersistentService::Stream : public std::enable_shared_from_this<Stream> {
 public:
  using Session = rpc::BidiSession<AnnounceRequest, AnnounceResponse>;
  Stream(PersistentService& service, std::shared_ptr<Session> session)
      : service_(service), session_(std::move(session)) {}

  void OnMessage(AnnounceRequest request) {
    if (ended_) return;
    inbox_bytes_ += request.ByteSizeLong();
    if (inbox_.size() >= kInboxMax || inbox_bytes_ > kInboxBytesMax) {
      session_->Finish(absl::ResourceExhaustedError("more messages than can be handled"));
      inbox_.clear();
      ended_ = true;
    } else {
      inbox_.push_back(std::move(request));
    }
    changed_.Notify();
  }
  void OnEnd() {
    ended_ = true;
    changed_.Notify();
  }

  static asio::awaitable<void> Run(std::shared_ptr<Stream> self) {
    // However the coroutine ends, the call does, too.
    struct Ending {
      explicit Ending(Session& s) : session(s) {}
      Ending(const Ending&) = delete;
      Ending& operator=(const Ending&) = delete;
      ~Ending() { session.Finish(status); }
      Session& session;
      absl::Status status = absl::CancelledError("the scheduler is stopping");
    };
    Ending ending(*self->session_);
    absl::Status status = co_await self->Converse();
    const std::function<absl::Status()> forget = [&self] {
      self->service_.cache_.Ended(self->download_);
      return absl::OkStatus();
    };
    const absl::Status forgotten = co_await self->service_.OnStore(forget);
    if (status.ok()) status = forgotten;
    self->service_.probe_.Count(PersistentCall::kAnnouncePeer, status);
    ending.status = std::move(status);
  }

 private:
  asio::awaitable<absl::Status> Converse() {
    for (;;) {
      const uint64_t seen = changed_.version();
      if (!inbox_.empty()) {
        const AnnounceRequest request = std::move(inbox_.front());
        inbox_.pop_front();
        inbox_bytes_ -= request.ByteSizeLong();
        PersistentCache::Answer answer;
        const std::function<absl::Status()> handle = [&]() -> absl::Status {
          DF_ASSIGN_OR_RETURN(answer, service_.cache_.Handle(request, download_));
          return absl::OkStatus();
        };
        const absl::Status handled = co_await service_.OnStore(handle);
        service_.CountMessage(request, handled);
        if (!handled.ok()) {
          DF_LOG(Debug, "persistent cache peer {}: {}", Quoted(request.peer_id()), handled.ToString());
          // Of a piece that is lost in the books nothing depends.
          if (request.has_download_piece_finished_request() || request.has_download_piece_failed_request()) continue;
          co_return handled;
        }
        if (answer.response) session_->Write(*std::move(answer.response));
        if (answer.finished) service_.StartHealing(request.task_id());
        if (answer.ends) co_return absl::OkStatus();
        continue;
      }
      if (ended_) co_return absl::OkStatus();
      co_await changed_.Wait(seen);
    }
  }

  PersistentService& service_;
  const std::shared_ptr<Session> session_;
  std::deque<AnnounceRequest> inbox_;
  size_t inbox_bytes_ = 0;
  bool ended_ = false;
  runtime::Signal changed_;
  PersistentDownload download_;
};

PersistentService::PersistentService(asio::io_context& io, std::unique_ptr<PersistentStore> store, HostTable& hosts,
                                     telemetry::Metrics& metrics, Options options)
    : store_(std::move(store)),
      hosts_(hosts),
      options_(std::move(options)),
      owner_(options_.name.empty() ? MakePeerId("scheduler", "healing", /*seed=*/false) : options_.name),
      cache_(*store_, hosts, away_, options_.cache),
      channels_(options_.peers),
      probe_(metrics),
      pool_(options_.store_threads, kStoreQueueMax),
      executor_(io.get_executor()),
      group_(executor_) {}

PersistentService::~PersistentService() = default;

void PersistentService::Start() { group_.Spawn(HealForever()); }

asio::awaitable<void> PersistentService::Stop() { co_await group_.Stop(); }

asio::awaitable<absl::Status> PersistentService::Answer(PersistentCall call, std::function<absl::Status()> job) {
  absl::Status answer = co_await OnStore(std::move(job));
  probe_.Count(call, answer);
  co_return answer;
}

PersistentService::Result PersistentService::Show(std::string task_id, std::string* json) {
  const auto show = [this, task_id = std::move(task_id), json]() -> absl::Status {
    DF_ASSIGN_OR_RETURN(*json, ShowPersistentTasks(*store_, task_id));
    return absl::OkStatus();
  };
  co_return co_await OnStore(show);
}

void PersistentService::CountMessage(const AnnounceRequest& request, const absl::Status& result) {
  const std::shared_ptr<Host> host = hosts_.Find(request.host_id());
  const uint32_t type = host == nullptr ? 0 : host->facts()->type;
  switch (request.request_case()) {
    case AnnounceRequest::kRegisterPersistentCachePeerRequest:
      return probe_.Count(PersistentStep::kRegister, type, result);
    case AnnounceRequest::kDownloadPersistentCachePeerStartedRequest:
      return probe_.Count(PersistentStep::kStarted, type, result);
    case AnnounceRequest::kDownloadPersistentCachePeerFinishedRequest:
      return probe_.Count(PersistentStep::kFinished, type, result);
    case AnnounceRequest::kDownloadPersistentCachePeerFailedRequest:
      return probe_.Count(PersistentStep::kFinished, type, absl::UnknownError("download failed"));
    case AnnounceRequest::kDownloadPieceFinishedRequest:
      return probe_.Count(PersistentStep::kPieceFinished, type, result);
    case AnnounceRequest::kDownloadPieceFailedRequest:
      return probe_.Count(PersistentStep::kPieceFinished, type, absl::UnknownError("download failed"));
    default:
      break;
  }
}

asio::awaitable<absl::Status> PersistentService::OnStore(std::function<absl::Status()> job) {
  co_return co_await pool_.Run(std::move(job));
}

grpc::ServerBidiReactor<PersistentService::AnnounceRequest, PersistentService::AnnounceResponse>*
PersistentService::Announce(grpc::CallbackServerContext* context) {
  const auto open = [this](std::shared_ptr<Stream::Session> session) {
    const auto stream = std::make_shared<Stream>(*this, std::move(session));
    group_.Spawn(Stream::Run(stream));
    Stream::Session::Callbacks callbacks;
    callbacks.on_message = [stream](AnnounceRequest request) { stream->OnMessage(std::move(request)); };
    callbacks.on_end = [stream](bool) { stream->OnEnd(); };
    return callbacks;
  };
  return rpc::ServeBidi<AnnounceRequest, AnnounceResponse>(context, executor_, open);
}

PersistentService::Result PersistentService::UploadStarted(
    const ::scheduler::v2::UploadPersistentCacheTaskStartedRequest* request) {
  std::vector<ReplicaPlace> left;
  const std::function<absl::Status()> job = [&] { return cache_.UploadStarted(*request, &left); };
  DF_CO_RETURN_IF_ERROR(co_await Answer(PersistentCall::kUploadStarted, job));
  // Before any replica of this import is begun.
  co_await DeleteCopies(std::move(left));
  StartHealing(request->task_id());
  co_return absl::OkStatus();
}

PersistentService::Result PersistentService::UploadFinished(
    const ::scheduler::v2::UploadPersistentCacheTaskFinishedRequest* request,
    common::v2::PersistentCacheTask* response) {
  const std::function<absl::Status()> job = [this, request, response]() -> absl::Status {
    DF_ASSIGN_OR_RETURN(*response, cache_.UploadFinished(*request));
    return absl::OkStatus();
  };
  const absl::Status finished = co_await Answer(PersistentCall::kUploadFinished, job);
  if (finished.ok()) {
    // Who could not follow the import may well make a replica of the whole.
    if (const auto work = work_.find(request->task_id()); work != work_.end()) work->second.unfit.clear();
    StartHealing(request->task_id());
  }
  co_return finished;
}

PersistentService::Result PersistentService::UploadFailed(
    const ::scheduler::v2::UploadPersistentCacheTaskFailedRequest* request) {
  std::vector<ReplicaPlace> places;
  const std::function<absl::Status()> job = [&]() -> absl::Status {
    DF_ASSIGN_OR_RETURN(places, cache_.UploadFailed(*request));
    return absl::OkStatus();
  };
  DF_CO_RETURN_IF_ERROR(co_await Answer(PersistentCall::kUploadFailed, job));
  co_await DeleteCopies(std::move(places));
  co_return absl::OkStatus();
}

PersistentService::Result PersistentService::StatTask(const ::scheduler::v2::StatPersistentCacheTaskRequest* request,
                                                      common::v2::PersistentCacheTask* response) {
  const std::function<absl::Status()> job = [this, request, response]() -> absl::Status {
    DF_ASSIGN_OR_RETURN(*response, cache_.StatTask(request->task_id()));
    return absl::OkStatus();
  };
  co_return co_await Answer(PersistentCall::kStatTask, job);
}

PersistentService::Result PersistentService::StatPeer(const ::scheduler::v2::StatPersistentCachePeerRequest* request,
                                                      common::v2::PersistentCachePeer* response) {
  const std::function<absl::Status()> job = [this, request, response]() -> absl::Status {
    DF_ASSIGN_OR_RETURN(*response, cache_.StatPeer(request->peer_id()));
    return absl::OkStatus();
  };
  co_return co_await Answer(PersistentCall::kStatPeer, job);
}

PersistentService::Result PersistentService::DeletePeer(
    const ::scheduler::v2::DeletePersistentCachePeerRequest* request) {
  ReplicaPlace place;
  const std::function<absl::Status()> job = [&]() -> absl::Status {
    DF_ASSIGN_OR_RETURN(place, cache_.DeletePeer(request->peer_id()));
    return absl::OkStatus();
  };
  DF_CO_RETURN_IF_ERROR(co_await Answer(PersistentCall::kDeletePeer, job));
  const std::string task_id = place.peer.task_id;
  // A host that gives its copy up has reasons that will still be there in a moment.
  work_[task_id].unfit[place.peer.host_id] = Clock::now() + 2 * options_.healing_interval;
  co_await DeleteCopy(std::move(place));
  StartHealing(task_id);
  co_return absl::OkStatus();
}

PersistentService::Result PersistentService::DeleteTask(
    const ::scheduler::v2::DeletePersistentCacheTaskRequest* request) {
  std::vector<ReplicaPlace> places;
  const std::function<absl::Status()> job = [&]() -> absl::Status {
    DF_ASSIGN_OR_RETURN(places, cache_.DeleteTask(request->task_id()));
    return absl::OkStatus();
  };
  DF_CO_RETURN_IF_ERROR(co_await Answer(PersistentCall::kDeleteTask, job));
  co_await DeleteCopies(std::move(places));
  co_return absl::OkStatus();
}

asio::awaitable<void> PersistentService::DeleteCopies(std::vector<ReplicaPlace> places) {
  const auto remove = [this, &places](size_t index) { return DeleteCopy(places[index]); };
  co_await runtime::ForEach(places.size(), places.size(), remove);
}

asio::awaitable<void> PersistentService::DeleteCopy(ReplicaPlace place) {
  if (place.port == 0) co_return;
  dfdaemon::v2::DeletePersistentCacheTaskRequest request;
  request.set_task_id(place.peer.task_id);
  const auto remove = [](Upload::Stub& stub, grpc::ClientContext* context,
                         const dfdaemon::v2::DeletePersistentCacheTaskRequest* asked, Empty* answer,
                         std::function<void(grpc::Status)> done) {
    stub.async()->DeletePersistentCacheTask(context, asked, answer, std::move(done));
  };
  const absl::Status removed =
      co_await CallPeer(channels_, rpc::HostPort(place.ip, place.port), std::move(request), remove);
  if (!removed.ok()) {
    DF_LOG(Warn, "persistent cache task {}: delete the copy of host {}: {}", place.peer.task_id, place.peer.host_id,
           MessageOf(removed));
  }
}

void PersistentService::HostAnnounced(std::shared_ptr<const HostFacts> facts) {
  // Without other schedulers the store has to know only what a restart of this one would forget, and only for a task.
  if (!options_.share_hosts && !has_tasks_) return;
  // Posted, so that the announcement does not wait for it.
  const bool queued = pool_.Post([this, facts] {
    const absl::Status stored = cache_.StoreHost(*facts);
    if (!stored.ok()) DF_LOG(Warn, "host {}: {}", facts->id, MessageOf(stored));
  });
  if (!queued) DF_LOG(Warn, "host {}: the store is too slow to take its announcement", facts->id);
}

void PersistentService::HostLeft(std::string) { wake_.Notify(); }

asio::awaitable<void> PersistentService::Heal(std::string task_id) {
  if (work_[task_id].planning) {
    work_[task_id].again = true;
    co_return;
  }
  do {
    work_[task_id].planning = true;
    work_[task_id].again = false;
    const absl::Status healed = co_await PlanAndStart(task_id);
    work_[task_id].planning = false;
    if (!healed.ok() && !absl::IsNotFound(healed)) {
      DF_LOG(Warn, "persistent cache task {}: {}", task_id, MessageOf(healed));
    }
  } while (work_[task_id].again);
}

asio::awaitable<absl::Status> PersistentService::PlanAndStart(const std::string& task_id) {
  std::vector<std::string> in_flight(work_[task_id].in_flight.begin(), work_[task_id].in_flight.end());
  std::vector<std::string> unfit;
  for (const auto& [host_id, until] : work_[task_id].unfit) {
    if (until > Clock::now()) unfit.push_back(host_id);
  }
  ReplicationPlan plan;
  const std::function<absl::Status()> make = [&]() -> absl::Status {
    DF_ASSIGN_OR_RETURN(plan, cache_.PlanReplication(task_id, in_flight, unfit));
    return absl::OkStatus();
  };
  DF_CO_RETURN_IF_ERROR(co_await OnStore(make));
  Work& work = work_[task_id];
  if (plan.missing > 0 && work.missing != plan.missing) {
    DF_LOG(Warn, "persistent cache task {}: {} of {} replicas are missing, and no host can take one", task_id,
           plan.missing, plan.task.persistent_replica_count);
  }
  work.missing = plan.missing;
  work.importing = plan.task.state != PersistentTaskState::kSucceeded;
  for (ReplicaPlace& place : plan.remove) group_.Spawn(DeleteCopy(std::move(place)));
  for (ReplicaHost& host : plan.download) {
    work.in_flight.insert(host.id);
    group_.Spawn(Replicate(plan.task, std::move(host)));
  }
  for (ReplicaPlace& place : plan.promote) {
    work.in_flight.insert(place.peer.host_id);
    group_.Spawn(Promote(std::move(place)));
  }
  co_return absl::OkStatus();
}

asio::awaitable<void> PersistentService::Promote(ReplicaPlace place) {
  const std::string task_id = place.peer.task_id;
  const std::string host_id = place.peer.host_id;
  dfdaemon::v2::UpdatePersistentCacheTaskRequest request;
  request.set_task_id(task_id);
  request.set_persistent(true);
  const auto update = [](Upload::Stub& stub, grpc::ClientContext* context,
                         const dfdaemon::v2::UpdatePersistentCacheTaskRequest* asked, Empty* answer,
                         std::function<void(grpc::Status)> done) {
    stub.async()->UpdatePersistentCacheTask(context, asked, answer, std::move(done));
  };
  absl::Status kept = co_await CallPeer(channels_, rpc::HostPort(place.ip, place.port), std::move(request), update);
  const std::function<absl::Status()> promote = [&] { return cache_.Promote(place); };
  // A copy that is not where it should be is struck off.
  const bool gone = !kept.ok() && !absl::IsUnavailable(kept) && !absl::IsDeadlineExceeded(kept);
  const std::function<absl::Status()> strike = [&] { return cache_.DeletePeer(place.peer.id).status(); };
  if (kept.ok()) {
    kept = co_await OnStore(promote);
  } else if (gone) {
    (co_await OnStore(strike)).IgnoreError();
  }
  Work& work = work_[task_id];
  work.in_flight.erase(host_id);
  if (!kept.ok()) {
    DF_LOG(Warn, "persistent cache task {}: keep the copy of host {}: {}", task_id, host_id, MessageOf(kept));
    work.unfit[host_id] = Clock::now() + 2 * options_.healing_interval;
  }
  StartHealing(task_id);
}

asio::awaitable<absl::Status> PersistentService::Download(const PersistentTask& task, std::string address) {
  dfdaemon::v2::DownloadPersistentCacheTaskRequest request;
  request.set_task_id(task.id);
  request.set_persistent(true);
  request.set_tag(task.tag);
  request.set_application(task.application);
  const std::shared_ptr<Upload::Stub> stub = Upload::NewStub(channels_.Get(address));
  const auto start = [stub](grpc::ClientContext* context, const dfdaemon::v2::DownloadPersistentCacheTaskRequest* asked,
                            auto* reactor) { stub->async()->DownloadPersistentCacheTask(context, asked, reactor); };
  const auto stream =
      rpc::StartServerStream<dfdaemon::v2::DownloadPersistentCacheTaskResponse>(start, std::move(request));
  for (;;) {
    const auto message = co_await stream->Read(Clock::now() + kReplicaSilenceMax);
    if (!message.ok()) {
      if (absl::IsUnavailable(message.status())) channels_.Drop(address);
      co_return Annotate(message.status(), StrCat("dfdaemon ", address));
    }
    if (!message->has_value()) co_return absl::OkStatus();
  }
}

asio::awaitable<void> PersistentService::Replicate(PersistentTask task, ReplicaHost host) {
  DF_LOG(Info, "persistent cache task {}: host {} gets a replica", task.id, host.id);
  const absl::Status made = co_await Download(task, rpc::HostPort(host.ip, host.port));
  Work& work = work_[task.id];
  work.in_flight.erase(host.id);
  if (!made.ok()) DF_LOG(Warn, "persistent cache task {}: a replica on host {}: {}", task.id, host.id, MessageOf(made));
  // Who could not follow an import may well make a replica of the whole.
  const bool import_ended = task.state != PersistentTaskState::kSucceeded && !work.importing;
  // Who says that it is made, and does not tell of it, is not asked again at once either.
  if (made.ok() || !import_ended) {
    work.unfit[host.id] = Clock::now() + (made.ok() ? 1 : 2) * options_.healing_interval;
  }
  StartHealing(task.id);
}

}  // namespace dragonfly::scheduler
