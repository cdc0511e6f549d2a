// SPDX-License-Identifier: Apache-2.0
#include "scheduler/service.h"

#include <functional>
#include <utility>

#include "absl/hash/hash.h"
#include "base/status.h"
#include "base/text.h"
#include "rpc/bidi_session.h"
#include "rpc/server_call.h"
#include "rpc/status.h"
#include "rpc/trace_metadata.h"
#include "runtime/clock.h"
#include "scheduler/announce_stream.h"
#include "scheduler/persistent_service.h"
#include "scheduler/preheat.h"
#include "scheduler/validation.h"
#include "scheduler/wire.h"
#include "telemetry/log.h"

namespace dragonfly::scheduler {
namespace asio = boost::asio;
namespace api = ::scheduler::v2;
namespace {

grpc::Status NotServed(std::string_view method) {
  return grpc::Status(grpc::StatusCode::UNIMPLEMENTED,
                      StrCat("scheduler.v2.Scheduler/", method,
                             " is not served: this scheduler serves standard and persistent cache tasks"));
}

absl::Status PeerNotFound(const std::string& peer_id) {
  return absl::NotFoundError(StrCat("peer ", peer_id, " not found"));
}
absl::Status HostNotFound(const std::string& host_id) {
  return absl::NotFoundError(StrCat("host ", host_id, " not found"));
}

UploadLimits LimitsOf(const ClusterConfig& cluster) {
  return UploadLimits{cluster.upload_limit_normal, cluster.upload_limit_seed};
}

// A stream that is over before it begins.
template <typename Request, typename Response>
class RefusedStream final : public grpc::ServerBidiReactor<Request, Response> {
 public:
  explicit RefusedStream(const grpc::Status& why) { this->Finish(why); }
  void OnDone() override { delete this; }
};

// Answers a call by `answer`, which does not wait, on the thread of `group`, and counts it.
template <typename Answer>
grpc::ServerUnaryReactor* Serve(grpc::CallbackServerContext* context, runtime::TaskGroup& group, Answer answer) {
  const auto run = [](Answer now) -> asio::awaitable<absl::Status> { co_return now(); };
  return rpc::ServeUnary(context, group, [run, answer = std::move(answer)] { return run(answer); });
}

grpc::ServerUnaryReactor* Refuse(grpc::CallbackServerContext* context, const absl::Status& why) {
  grpc::ServerUnaryReactor* const reactor = context->DefaultReactor();
  reactor->Finish(rpc::ToGrpc(why));
  return reactor;
}

}  // namespace

ShardRunner& Shards::For(std::string_view task_id) const {
  return *runners_[absl::HashOf(ToAbsl(task_id)) % runners_.size()];
}

Service::Service(Shards& shards, HostTable& hosts, Probe& probe, const ClusterConfigs& cluster,
                 runtime::BlockingPool& blocking, double calls_per_second)
    : shards_(shards), hosts_(hosts), probe_(probe), cluster_(cluster), blocking_(blocking), gate_(calls_per_second) {}

Service::~Service() = default;

absl::Status Service::Admit(std::string_view method) {
  if (gate_.Admit(Clock::now())) return absl::OkStatus();
  return absl::ResourceExhaustedError(
      StrCat("/scheduler.v2.Scheduler/", method, " is rejected by grpc_ratelimit middleware, please retry later."));
}

grpc::ServerUnaryReactor* Service::Unimplemented(grpc::CallbackServerContext* context, std::string_view method) {
  grpc::ServerUnaryReactor* const reactor = context->DefaultReactor();
  reactor->Finish(NotServed(method));
  return reactor;
}

grpc::ServerBidiReactor<api::AnnouncePeerRequest, api::AnnouncePeerResponse>* Service::AnnouncePeer(
    grpc::CallbackServerContext* context) {
  // Which shard it is for stands in the first message.
  struct Routed {
    ShardRunner* runner = nullptr;
  };
  const auto routed = std::make_shared<Routed>();
  const auto route = [this, routed](const api::AnnouncePeerRequest& first) -> asio::any_io_executor {
    routed->runner = &shards_.For(first.task_id());
    return routed->runner->context().get_executor();
  };
  const auto open = [this, routed, trace = rpc::TraceOf(*context),
                     admitted = Admit("AnnouncePeer")](std::shared_ptr<AnnounceStream::Session> session) {
    const auto stream =
        std::make_shared<AnnounceStream>(*routed->runner, probe_, cluster_, std::move(session), trace, admitted);
    AnnounceStream::Session::Callbacks callbacks;
    callbacks.on_message = [stream](api::AnnouncePeerRequest request) { stream->OnMessage(std::move(request)); };
    callbacks.on_end = [stream](bool half_closed) { stream->OnEnd(half_closed); };
    return callbacks;
  };
  return rpc::ServeBidiRouted<api::AnnouncePeerRequest, api::AnnouncePeerResponse>(context, route, open);
}

grpc::ServerUnaryReactor* Service::StatPeer(grpc::CallbackServerContext* context, const api::StatPeerRequest* request,
                                            common::v2::Peer* response) {
  ShardRunner& runner = shards_.For(request->task_id());
  return Serve(context, runner.group(), [this, &runner, request, response] {
    const auto stat = [&](Shard& shard, TimePoint) -> absl::Status {
      DF_RETURN_IF_ERROR(Admit("StatPeer"));
      DF_RETURN_IF_ERROR(Validate(*request));
      const Peer* const peer = shard.FindPeer(request->task_id(), request->peer_id());
      if (peer == nullptr) return PeerNotFound(request->peer_id());
      Fill(*peer, response);
      return absl::OkStatus();
    };
    absl::Status status = runner.Do(stat);
    probe_.Count(Call::kStatPeer, status);
    return status;
  });
}

grpc::ServerUnaryReactor* Service::DeletePeer(grpc::CallbackServerContext* context,
                                              const api::DeletePeerRequest* request, google::protobuf::Empty*) {
  ShardRunner& runner = shards_.For(request->task_id());
  return Serve(context, runner.group(), [this, &runner, request] {
    const auto leave = [&](Shard& shard, TimePoint now) -> absl::Status {
      DF_RETURN_IF_ERROR(Admit("DeletePeer"));
      DF_RETURN_IF_ERROR(Validate(*request));
      if (!shard.DeletePeer(request->task_id(), request->peer_id(), now)) return PeerNotFound(request->peer_id());
      return absl::OkStatus();
    };
    absl::Status status = runner.Do(leave);
    probe_.Count(Call::kDeletePeer, status);
    return status;
  });
}

grpc::ServerUnaryReactor* Service::StatTask(grpc::CallbackServerContext* context, const api::StatTaskRequest* request,
                                            common::v2::Task* response) {
  ShardRunner& runner = shards_.For(request->task_id());
  return Serve(context, runner.group(), [this, &runner, request, response] {
    const auto stat = [&](Shard& shard, TimePoint) -> absl::Status {
      DF_RETURN_IF_ERROR(Admit("StatTask"));
      DF_RETURN_IF_ERROR(Validate(*request));
      const Task* const task = shard.FindTask(request->task_id());
      if (task == nullptr) return absl::NotFoundError(StrCat("task ", request->task_id(), " not found"));
      Fill(*task, response);
      return absl::OkStatus();
    };
    absl::Status status = runner.Do(stat);
    probe_.Count(Call::kStatTask, status);
    return status;
  });
}

grpc::ServerUnaryReactor* Service::DeleteTask(grpc::CallbackServerContext* context,
                                              const api::DeleteTaskRequest* request, google::protobuf::Empty*) {
  ShardRunner& runner = shards_.For(request->task_id());
  return Serve(context, runner.group(), [this, &runner, request] {
    const auto leave = [&](Shard& shard, TimePoint now) -> absl::Status {
      DF_RETURN_IF_ERROR(Admit("DeleteTask"));
      DF_RETURN_IF_ERROR(Validate(*request));
      if (hosts_.Find(request->host_id()) == nullptr) return HostNotFound(request->host_id());
      shard.DeleteTask(request->host_id(), request->task_id(), now);
      return absl::OkStatus();
    };
    absl::Status status = runner.Do(leave);
    probe_.Count(Call::kDeleteTask, status);
    return status;
  });
}

grpc::ServerUnaryReactor* Service::AnnounceHost(grpc::CallbackServerContext* context,
                                                const api::AnnounceHostRequest* request, google::protobuf::Empty*) {
  return Serve(context, shards_.At(0).group(), [this, request] {
    const auto announce = [&]() -> absl::Status {
      DF_RETURN_IF_ERROR(Admit("AnnounceHost"));
      DF_RETURN_IF_ERROR(Validate(*request));
      const std::shared_ptr<const HostFacts> facts = ToFacts(*request, LimitsOf(*cluster_.current()));
      hosts_.Announce(facts, Clock::now());
      if (persistent_ != nullptr) persistent_->HostAnnounced(facts);
      for (size_t i = 0; i < shards_.size(); ++i) {
        shards_.At(i).Post([facts](Shard& shard, TimePoint) { shard.UpdateHost(facts); });
      }
      return absl::OkStatus();
    };
    absl::Status status = announce();
    probe_.CountAnnounceHost(request->host(), status);
    return status;
  });
}

grpc::ServerUnaryReactor* Service::ListHosts(grpc::CallbackServerContext* context, const api::ListHostsRequest* request,
                                             api::ListHostsResponse* response) {
  grpc::ServerUnaryReactor* const reactor = context->DefaultReactor();
  const auto end = [this, reactor](const absl::Status& status) {
    probe_.Count(Call::kListHosts, status);
    reactor->Finish(rpc::ToGrpc(status));
  };
  if (const absl::Status admitted = Admit("ListHosts"); !admitted.ok()) {
    end(admitted);
    return reactor;
  }
  // Copying and serialising all hosts takes as long as there are many: neither a shard nor gRPC shall wait for it.
  const bool queued = blocking_.Post([this, end, request, response] {
    const auto type = request->has_type() ? std::optional<uint32_t>(request->type()) : std::nullopt;
    for (const std::shared_ptr<Host>& host : hosts_.List(type)) *response->add_hosts() = *host->facts()->announced;
    end(absl::OkStatus());
  });
  if (!queued) end(absl::ResourceExhaustedError("too many calls of ListHosts at once, please retry later."));
  return reactor;
}

grpc::ServerUnaryReactor* Service::DeleteHost(grpc::CallbackServerContext* context,
                                              const api::DeleteHostRequest* request, google::protobuf::Empty*) {
  return Serve(context, shards_.At(0).group(), [this, request] {
    const auto leave = [&]() -> absl::Status {
      DF_RETURN_IF_ERROR(Admit("DeleteHost"));
      DF_RETURN_IF_ERROR(Validate(*request));
      const std::shared_ptr<Host> host = hosts_.Find(request->host_id());
      if (host == nullptr || !hosts_.Remove(request->host_id())) return HostNotFound(request->host_id());
      for (size_t i = 0; i < shards_.size(); ++i) {
        shards_.At(i).Post([id = host->id()](Shard& shard, TimePoint now) { shard.DeleteHost(id, now); });
      }
      probe_.Forget(host->id());
      return absl::OkStatus();
    };
    absl::Status status = leave();
    probe_.Count(Call::kDeleteHost, status);
    return status;
  });
}

grpc::ServerBidiReactor<api::AnnounceCachePeerRequest, api::AnnounceCachePeerResponse>* Service::AnnounceCachePeer(
    grpc::CallbackServerContext*) {
  return new RefusedStream<api::AnnounceCachePeerRequest, api::AnnounceCachePeerResponse>(
      NotServed("AnnounceCachePeer"));
}

grpc::ServerBidiReactor<api::AnnouncePersistentPeerRequest, api::AnnouncePersistentPeerResponse>*
Service::AnnouncePersistentPeer(grpc::CallbackServerContext*) {
  return new RefusedStream<api::AnnouncePersistentPeerRequest, api::AnnouncePersistentPeerResponse>(
      NotServed("AnnouncePersistentPeer"));
}

absl::Status Service::PersistentServed() const {
  // As of the original without Redis.
  return persistent_ != nullptr ? absl::OkStatus() : absl::FailedPreconditionError("redis is not enabled");
}

grpc::ServerBidiReactor<api::AnnouncePersistentCachePeerRequest, api::AnnouncePersistentCachePeerResponse>*
Service::AnnouncePersistentCachePeer(grpc::CallbackServerContext* context) {
  using Refused = RefusedStream<api::AnnouncePersistentCachePeerRequest, api::AnnouncePersistentCachePeerResponse>;
  if (persistent_ == nullptr) return new Refused(rpc::ToGrpc(PersistentServed()));
  if (const absl::Status admitted = Admit("AnnouncePersistentCachePeer"); !admitted.ok()) {
    return new Refused(rpc::ToGrpc(admitted));
  }
  return persistent_->Announce(context);
}

template <typename Server, typename Method, typename... Messages>
grpc::ServerUnaryReactor* Service::Hand(grpc::CallbackServerContext* context, std::string_view name,
                                        const absl::Status& served, Server* server, Method method,
                                        Messages... messages) {
  const absl::Status admitted = served.ok() ? Admit(name) : served;
  return admitted.ok() ? server->Serve(context, method, messages...) : Refuse(context, admitted);
}

grpc::ServerUnaryReactor* Service::StatPersistentCachePeer(grpc::CallbackServerContext* context,
                                                           const api::StatPersistentCachePeerRequest* request,
                                                           common::v2::PersistentCachePeer* response) {
  return Hand(context, "StatPersistentCachePeer", PersistentServed(), persistent_, &PersistentService::StatPeer,
              request, response);
}

grpc::ServerUnaryReactor* Service::DeletePersistentCachePeer(grpc::CallbackServerContext* context,
                                                             const api::DeletePersistentCachePeerRequest* request,
                                                             google::protobuf::Empty*) {
  return Hand(context, "DeletePersistentCachePeer", PersistentServed(), persistent_, &PersistentService::DeletePeer,
              request);
}

grpc::ServerUnaryReactor* Service::UploadPersistentCacheTaskStarted(
    grpc::CallbackServerContext* context, const api::UploadPersistentCacheTaskStartedRequest* request,
    google::protobuf::Empty*) {
  return Hand(context, "UploadPersistentCacheTaskStarted", PersistentServed(), persistent_,
              &PersistentService::UploadStarted, request);
}

grpc::ServerUnaryReactor* Service::UploadPersistentCacheTaskFinished(
    grpc::CallbackServerContext* context, const api::UploadPersistentCacheTaskFinishedRequest* request,
    common::v2::PersistentCacheTask* response) {
  return Hand(context, "UploadPersistentCacheTaskFinished", PersistentServed(), persistent_,
              &PersistentService::UploadFinished, request, response);
}

grpc::ServerUnaryReactor* Service::UploadPersistentCacheTaskFailed(
    grpc::CallbackServerContext* context, const api::UploadPersistentCacheTaskFailedRequest* request,
    google::protobuf::Empty*) {
  return Hand(context, "UploadPersistentCacheTaskFailed", PersistentServed(), persistent_,
              &PersistentService::UploadFailed, request);
}

grpc::ServerUnaryReactor* Service::StatPersistentCacheTask(grpc::CallbackServerContext* context,
                                                           const api::StatPersistentCacheTaskRequest* request,
                                                           common::v2::PersistentCacheTask* response) {
  return Hand(context, "StatPersistentCacheTask", PersistentServed(), persistent_, &PersistentService::StatTask,
              request, response);
}

grpc::ServerUnaryReactor* Service::DeletePersistentCacheTask(grpc::CallbackServerContext* context,
                                                             const api::DeletePersistentCacheTaskRequest* request,
                                                             google::protobuf::Empty*) {
  return Hand(context, "DeletePersistentCacheTask", PersistentServed(), persistent_, &PersistentService::DeleteTask,
              request);
}

grpc::ServerUnaryReactor* Service::PreheatImage(grpc::CallbackServerContext* context,
                                                const api::PreheatImageRequest* request, google::protobuf::Empty*) {
  if (preheat_ == nullptr) return Unimplemented(context, "PreheatImage");
  return Hand(context, "PreheatImage", absl::OkStatus(), preheat_, &PreheatService::PreheatImage, request);
}

grpc::ServerUnaryReactor* Service::StatImage(grpc::CallbackServerContext* context, const api::StatImageRequest* request,
                                             api::StatImageResponse* response) {
  if (preheat_ == nullptr) return Unimplemented(context, "StatImage");
  return Hand(context, "StatImage", absl::OkStatus(), preheat_, &PreheatService::StatImage, request, response);
}

grpc::ServerUnaryReactor* Service::PreheatFile(grpc::CallbackServerContext* context,
                                               const api::PreheatFileRequest* request, google::protobuf::Empty*) {
  if (preheat_ == nullptr) return Unimplemented(context, "PreheatFile");
  return Hand(context, "PreheatFile", absl::OkStatus(), preheat_, &PreheatService::PreheatFile, request);
}

grpc::ServerUnaryReactor* Service::StatFile(grpc::CallbackServerContext* context, const api::StatFileRequest* request,
                                            api::StatFileResponse* response) {
  if (preheat_ == nullptr) return Unimplemented(context, "StatFile");
  return Hand(context, "StatFile", absl::OkStatus(), preheat_, &PreheatService::StatFile, request, response);
}

}  // namespace dragonfly::scheduler
