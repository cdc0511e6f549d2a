// SPDX-License-Identifier: Apache-2.0
// manager.v2.Manager for schedulers, seed peers and peers. Behaviour: dragonfly v2.3.0,
// manager/rpcserver/manager_server_v2.go. Only .cc files include this (it brings gRPC).
#pragma once

#include <atomic>
#include <functional>
#include <memory>
#include <string>

#include "db/database.h"
#include "manager/directory.h"
#include "manager/keep_alive.h"
#include "manager/v2/manager.grpc.pb.h"
#include "runtime/rate_gate.h"
#include "runtime/task_group.h"

namespace dragonfly::manager {

// What is counted; called on the group's thread.
struct SearchCounters {
  using Count = std::function<void(const std::string& version, const std::string& commit)>;
  Count searched;
  Count failed;  // found no scheduler, or could not look
};

class GrpcService final : public ::manager::v2::Manager::CallbackService {
 public:
  // All of them must outlive the service; `group` runs the calls.
  GrpcService(db::Database& database, DirectoryReader& directory, KeepAlives& keep_alives, runtime::TaskGroup& group,
              double calls_per_second, SearchCounters counters);

  grpc::ServerUnaryReactor* GetSeedPeer(grpc::CallbackServerContext* context,
                                        const ::manager::v2::GetSeedPeerRequest* request,
                                        ::manager::v2::SeedPeer* response) override;
  grpc::ServerUnaryReactor* ListSeedPeers(grpc::CallbackServerContext* context,
                                          const ::manager::v2::ListSeedPeersRequest* request,
                                          ::manager::v2::ListSeedPeersResponse* response) override;
  grpc::ServerUnaryReactor* UpdateSeedPeer(grpc::CallbackServerContext* context,
                                           const ::manager::v2::UpdateSeedPeerRequest* request,
                                           ::manager::v2::SeedPeer* response) override;
  grpc::ServerUnaryReactor* DeleteSeedPeer(grpc::CallbackServerContext* context,
                                           const ::manager::v2::DeleteSeedPeerRequest* request,
                                           google::protobuf::Empty* response) override;
  grpc::ServerUnaryReactor* GetScheduler(grpc::CallbackServerContext* context,
                                         const ::manager::v2::GetSchedulerRequest* request,
                                         ::manager::v2::Scheduler* response) override;
  grpc::ServerUnaryReactor* UpdateScheduler(grpc::CallbackServerContext* context,
                                            const ::manager::v2::UpdateSchedulerRequest* request,
                                            ::manager::v2::Scheduler* response) override;
  grpc::ServerUnaryReactor* ListSchedulers(grpc::CallbackServerContext* context,
                                           const ::manager::v2::ListSchedulersRequest* request,
                                           ::manager::v2::ListSchedulersResponse* response) override;
  grpc::ServerUnaryReactor* ListApplications(grpc::CallbackServerContext* context,
                                             const ::manager::v2::ListApplicationsRequest* request,
                                             ::manager::v2::ListApplicationsResponse* response) override;
  grpc::ServerReadReactor<::manager::v2::KeepAliveRequest>* KeepAlive(grpc::CallbackServerContext* context,
                                                                      google::protobuf::Empty* response) override;

 private:
  absl::Status Admit(std::string_view method);

  db::Database& database_;
  DirectoryReader& directory_;
  KeepAlives& keep_alives_;
  runtime::TaskGroup& group_;
  runtime::RateGate gate_;
  const SearchCounters counters_;
};

}  // namespace dragonfly::manager
