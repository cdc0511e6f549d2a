// SPDX-License-Identifier: Apache-2.0
// A manager.v2.Manager over real gRPC that knows what a test tells it, and remembers what it was told. Its events are
// what happened to the records of seed peers: "update super", "active", "beat", "inactive", "delete".
#pragma once

#include <string>
#include <utility>
#include <vector>

#include "absl/synchronization/mutex.h"
#include "base/text.h"
#include "tests/support/played_manager.h"

namespace dragonfly::daemon::test {

class ScriptedManager final : public dragonfly::testing::PlayedManager {
 public:
  using Empty = google::protobuf::Empty;

  ScriptedManager() { Start(0); }
  explicit ScriptedManager(rpc::TlsFiles tls) : PlayedManager(std::move(tls)) { Start(0); }
  ~ScriptedManager() override { Stop(); }

  std::string addr() const { return StrCat(encrypted() ? "https" : "http", "://", address()); }

  // Adds a scheduler of the cluster at "127.0.0.1:`port`"; the configurations are JSON.
  void AddScheduler(int port, uint64_t cluster, const std::string& client_config = "",
                    const std::string& seed_client_config = "") {
    const absl::MutexLock lock(&mutex_);
    manager::v2::Scheduler& scheduler = *list_.add_schedulers();
    scheduler.set_ip("127.0.0.1");
    scheduler.set_port(port);
    scheduler.set_scheduler_cluster_id(cluster);
    if (client_config.empty() && seed_client_config.empty()) return;
    scheduler.mutable_scheduler_cluster()->set_id(cluster);
    scheduler.mutable_scheduler_cluster()->set_client_config(client_config);
    scheduler.mutable_scheduler_cluster()->set_seed_client_config(seed_client_config);
  }
  void RemoveSchedulers() {
    const absl::MutexLock lock(&mutex_);
    list_.Clear();
  }
  void FailLists(grpc::Status status) {
    const absl::MutexLock lock(&mutex_);
    list_status_ = std::move(status);
  }
  void RefuseType(const std::string& type) {
    const absl::MutexLock lock(&mutex_);
    refused_type_ = type;
  }

  std::vector<manager::v2::ListSchedulersRequest> lists() const {
    const absl::MutexLock lock(&mutex_);
    return lists_;
  }
  std::vector<manager::v2::UpdateSeedPeerRequest> updates() const {
    const absl::MutexLock lock(&mutex_);
    return updates_;
  }
  bool WaitForLists(size_t count) const {
    const absl::MutexLock lock(&mutex_);
    const auto enough = [&]() ABSL_EXCLUSIVE_LOCKS_REQUIRED(mutex_) { return lists_.size() >= count; };
    return mutex_.AwaitWithTimeout(absl::Condition(&enough), kPatienceMax);
  }
  grpc::Status ListSchedulers(grpc::ServerContext*, const manager::v2::ListSchedulersRequest* request,
                              manager::v2::ListSchedulersResponse* response) override {
    const absl::MutexLock lock(&mutex_);
    lists_.push_back(*request);
    *response = list_;
    return list_status_;
  }
  grpc::Status UpdateSeedPeer(grpc::ServerContext*, const manager::v2::UpdateSeedPeerRequest* request,
                              manager::v2::SeedPeer*) override {
    const absl::MutexLock lock(&mutex_);
    updates_.push_back(*request);
    if (request->type() == refused_type_) {
      return grpc::Status(grpc::INVALID_ARGUMENT, "invalid UpdateSeedPeerRequest.Type");
    }
    Note("update " + request->type());
    return grpc::Status::OK;
  }
  grpc::Status DeleteSeedPeer(grpc::ServerContext*, const manager::v2::DeleteSeedPeerRequest* request,
                              Empty*) override {
    const absl::MutexLock lock(&mutex_);
    Note(StrCat("delete ", request->hostname(), " ", request->ip(), " ", request->seed_peer_cluster_id()));
    return grpc::Status::OK;
  }
  // As the Go manager: the first message makes the record active, the end of the stream inactive.
  grpc::Status KeepAlive(grpc::ServerContext*, grpc::ServerReader<manager::v2::KeepAliveRequest>* reader,
                         Empty*) override {
    manager::v2::KeepAliveRequest request;
    for (bool first = true; reader->Read(&request); first = false) {
      const absl::MutexLock lock(&mutex_);
      Note(first ? StrCat("active ", request.hostname(), " ", request.ip(), " ", request.cluster_id())
                 : std::string("beat"));
    }
    const absl::MutexLock lock(&mutex_);
    Note("inactive");
    return grpc::Status::OK;
  }

 private:
  manager::v2::ListSchedulersResponse list_ ABSL_GUARDED_BY(mutex_);
  grpc::Status list_status_ ABSL_GUARDED_BY(mutex_);
  std::string refused_type_ ABSL_GUARDED_BY(mutex_);
  std::vector<manager::v2::ListSchedulersRequest> lists_ ABSL_GUARDED_BY(mutex_);
  std::vector<manager::v2::UpdateSeedPeerRequest> updates_ ABSL_GUARDED_BY(mutex_);
};

}  // namespace dragonfly::daemon::test
