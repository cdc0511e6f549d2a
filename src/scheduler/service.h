// SPDX-License-Identifier: Apache-2.0
// The gRPC service scheduler.v2.Scheduler. Only .cc files include this (it pulls in grpc++).
#pragma once

#include <memory>
#include <string_view>
#include <vector>

#include "runtime/blocking_pool.h"
#include "runtime/rate_gate.h"
#include "scheduler/cluster_config.h"
#include "scheduler/host_table.h"
#include "scheduler/probe.h"
#include "scheduler/shard_runner.h"
#include "scheduler/v2/scheduler.grpc.pb.h"

namespace dragonfly::scheduler {

// The shards, by task.
class Shards {
 public:
  void Add(std::unique_ptr<ShardRunner> runner) { runners_.push_back(std::move(runner)); }
  ShardRunner& For(std::string_view task_id) const;
  ShardRunner& At(size_t index) const { return *runners_[index]; }
  size_t size() const { return runners_.size(); }

 private:
  std::vector<std::unique_ptr<ShardRunner>> runners_;
};

class PersistentService;
class PreheatService;

// Everything about standard and persistent cache tasks; the rest answers UNIMPLEMENTED. References must outlive the
// service, and the service the server that offers it.
class Service final : public ::scheduler::v2::Scheduler::CallbackService {
 public:
  Service(Shards& shards, HostTable& hosts, Probe& probe, const ClusterConfigs& cluster,
          runtime::BlockingPool& blocking, double calls_per_second);
  ~Service() override;

  // Who serves persistent cache tasks; without it their calls answer FAILED_PRECONDITION. Before the server starts; it
  // must outlive the service.
  void UsePersistent(PersistentService& persistent) { persistent_ = &persistent; }
  // Who preheats; as above. Without it the calls answer UNIMPLEMENTED.
  void UsePreheat(PreheatService& preheat) { preheat_ = &preheat; }

  grpc::ServerBidiReactor<::scheduler::v2::AnnouncePeerRequest, ::scheduler::v2::AnnouncePeerResponse>* AnnouncePeer(
      grpc::CallbackServerContext* context) override;
  grpc::ServerUnaryReactor* StatPeer(grpc::CallbackServerContext* context,
                                     const ::scheduler::v2::StatPeerRequest* request,
                                     common::v2::Peer* response) override;
  grpc::ServerUnaryReactor* DeletePeer(grpc::CallbackServerContext* context,
                                       const ::scheduler::v2::DeletePeerRequest* request,
                                       google::protobuf::Empty* response) override;
  grpc::ServerUnaryReactor* StatTask(grpc::CallbackServerContext* context,
                                     const ::scheduler::v2::StatTaskRequest* request,
                                     common::v2::Task* response) override;
  grpc::ServerUnaryReactor* DeleteTask(grpc::CallbackServerContext* context,
                                       const ::scheduler::v2::DeleteTaskRequest* request,
                                       google::protobuf::Empty* response) override;
  grpc::ServerUnaryReactor* AnnounceHost(grpc::CallbackServerContext* context,
                                         const ::scheduler::v2::AnnounceHostRequest* request,
                                         google::protobuf::Empty* response) override;
  grpc::ServerUnaryReactor* ListHosts(grpc::CallbackServerContext* context,
                                      const ::scheduler::v2::ListHostsRequest* request,
                                      ::scheduler::v2::ListHostsResponse* response) override;
  grpc::ServerUnaryReactor* DeleteHost(grpc::CallbackServerContext* context,
                                       const ::scheduler::v2::DeleteHostRequest* request,
                                       google::protobuf::Empty* response) override;

  // Persistent cache tasks; see PersistentService.
#define DF_SCHEDULER_PERSISTENT(method, request, response)                                                      \
  grpc::ServerUnaryReactor* method(grpc::CallbackServerContext* context, const ::scheduler::v2::request* asked, \
                                   response* answer) override
  DF_SCHEDULER_PERSISTENT(StatPersistentCachePeer, StatPersistentCachePeerRequest, common::v2::PersistentCachePeer);
  DF_SCHEDULER_PERSISTENT(DeletePersistentCachePeer, DeletePersistentCachePeerRequest, google::protobuf::Empty);
  DF_SCHEDULER_PERSISTENT(UploadPersistentCacheTaskStarted, UploadPersistentCacheTaskStartedRequest,
                          google::protobuf::Empty);
  DF_SCHEDULER_PERSISTENT(UploadPersistentCacheTaskFinished, UploadPersistentCacheTaskFinishedRequest,
                          common::v2::PersistentCacheTask);
  DF_SCHEDULER_PERSISTENT(UploadPersistentCacheTaskFailed, UploadPersistentCacheTaskFailedRequest,
                          google::protobuf::Empty);
  DF_SCHEDULER_PERSISTENT(StatPersistentCacheTask, StatPersistentCacheTaskRequest, common::v2::PersistentCacheTask);
  DF_SCHEDULER_PERSISTENT(DeletePersistentCacheTask, DeletePersistentCacheTaskRequest, google::protobuf::Empty);
#undef DF_SCHEDULER_PERSISTENT

  // Preheating.
  grpc::ServerUnaryReactor* PreheatImage(grpc::CallbackServerContext* context,
                                         const ::scheduler::v2::PreheatImageRequest* request,
                                         google::protobuf::Empty* response) override;
  grpc::ServerUnaryReactor* StatImage(grpc::CallbackServerContext* context,
                                      const ::scheduler::v2::StatImageRequest* request,
                                      ::scheduler::v2::StatImageResponse* response) override;
  grpc::ServerUnaryReactor* PreheatFile(grpc::CallbackServerContext* context,
                                        const ::scheduler::v2::PreheatFileRequest* request,
                                        google::protobuf::Empty* response) override;
  grpc::ServerUnaryReactor* StatFile(grpc::CallbackServerContext* context,
                                     const ::scheduler::v2::StatFileRequest* request,
                                     ::scheduler::v2::StatFileResponse* response) override;

  // Persistent and cache tasks.
#define DF_SCHEDULER_UNARY(method, request, response)                                                                \
  grpc::ServerUnaryReactor* method(grpc::CallbackServerContext* context, const ::scheduler::v2::request*, response*) \
      override {                                                                                                     \
    return Unimplemented(context, #method);                                                                          \
  }
  DF_SCHEDULER_UNARY(StatCachePeer, StatCachePeerRequest, common::v2::CachePeer)
  DF_SCHEDULER_UNARY(DeleteCachePeer, DeleteCachePeerRequest, google::protobuf::Empty)
  DF_SCHEDULER_UNARY(StatCacheTask, StatCacheTaskRequest, common::v2::CacheTask)
  DF_SCHEDULER_UNARY(DeleteCacheTask, DeleteCacheTaskRequest, google::protobuf::Empty)
  DF_SCHEDULER_UNARY(StatPersistentPeer, StatPersistentPeerRequest, common::v2::PersistentPeer)
  DF_SCHEDULER_UNARY(DeletePersistentPeer, DeletePersistentPeerRequest, google::protobuf::Empty)
  DF_SCHEDULER_UNARY(UploadPersistentTaskStarted, UploadPersistentTaskStartedRequest, google::protobuf::Empty)
  DF_SCHEDULER_UNARY(UploadPersistentTaskFinished, UploadPersistentTaskFinishedRequest, common::v2::PersistentTask)
  DF_SCHEDULER_UNARY(UploadPersistentTaskFailed, UploadPersistentTaskFailedRequest, google::protobuf::Empty)
  DF_SCHEDULER_UNARY(StatPersistentTask, StatPersistentTaskRequest, common::v2::PersistentTask)
  DF_SCHEDULER_UNARY(DeletePersistentTask, DeletePersistentTaskRequest, google::protobuf::Empty)
#undef DF_SCHEDULER_UNARY
  grpc::ServerBidiReactor<::scheduler::v2::AnnounceCachePeerRequest, ::scheduler::v2::AnnounceCachePeerResponse>*
  AnnounceCachePeer(grpc::CallbackServerContext* context) override;
  grpc::ServerBidiReactor<::scheduler::v2::AnnouncePersistentPeerRequest,
                          ::scheduler::v2::AnnouncePersistentPeerResponse>*
  AnnouncePersistentPeer(grpc::CallbackServerContext* context) override;
  grpc::ServerBidiReactor<::scheduler::v2::AnnouncePersistentCachePeerRequest,
                          ::scheduler::v2::AnnouncePersistentCachePeerResponse>*
  AnnouncePersistentCachePeer(grpc::CallbackServerContext* context) override;

 private:
  grpc::ServerUnaryReactor* Unimplemented(grpc::CallbackServerContext* context, std::string_view method);
  // Why there are no persistent cache tasks, if so.
  absl::Status PersistentServed() const;
  // Lets `server` answer the call, unless it is not `served` or there are too many calls.
  template <typename Server, typename Method, typename... Messages>
  grpc::ServerUnaryReactor* Hand(grpc::CallbackServerContext* context, std::string_view name,
                                 const absl::Status& served, Server* server, Method method, Messages... messages);
  // OK, or RESOURCE_EXHAUSTED when there are too many calls.
  absl::Status Admit(std::string_view method);

  Shards& shards_;
  HostTable& hosts_;
  Probe& probe_;
  const ClusterConfigs& cluster_;
  runtime::BlockingPool& blocking_;
  runtime::RateGate gate_;
  PersistentService* persistent_ = nullptr;
  PreheatService* preheat_ = nullptr;
};

}  // namespace dragonfly::scheduler
