// SPDX-License-Identifier: Apache-2.0
// A manager.v2.Manager over real gRPC that knows what a test tells it, and remembers what it was told.
#pragma once

#include <grpcpp/server_context.h>
#include <grpcpp/support/status.h>
#include <grpcpp/support/sync_stream.h>
#include <gtest/gtest.h>

#include <chrono>
#include <memory>
#include <string>
#include <utility>
#include <vector>

#include "absl/synchronization/mutex.h"
#include "absl/time/time.h"
#include "base/text.h"
#include "manager/v2/manager.grpc.pb.h"
#include "rpc/server.h"
#include "runtime/clock.h"

namespace dragonfly::daemon::test {

class ScriptedManager final : public manager::v2::Manager::Service {
 public:
  using Empty = google::protobuf::Empty;

  ScriptedManager() { Start(0); }
  explicit ScriptedManager(rpc::TlsFiles tls) : tls_(std::move(tls)) { Start(0); }
  ~ScriptedManager() override { Stop(); }

  // Serves, again, on the port of before (0: any).
  void Start(int port) {
    rpc::ServerOptions options;
    options.addresses = {StrCat("127.0.0.1:", port)};
    options.services = {this};
    options.tls = tls_;
    auto server = rpc::Server::Start(options);
    ASSERT_TRUE(server.ok()) << server.status();
    server_ = *std::move(server);
    port_ = server_->port();
  }
  void Stop() {
    if (server_ != nullptr) server_->Shutdown(Clock::now());
    server_.reset();
  }
  int port() const { return port_; }
  std::string addr() const { return StrCat(tls_.enabled() ? "https" : "http", "://127.0.0.1:", port_); }

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
  // What happened to the records of seed peers, in order: "update super", "active", "beat", "inactive", "delete".
  std::vector<std::string> events() const {
    const absl::MutexLock lock(&mutex_);
    return events_;
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
  bool WaitForEvent(const std::string& event, size_t count = 1) const {
    const absl::MutexLock lock(&mutex_);
    const auto seen = [&]() ABSL_EXCLUSIVE_LOCKS_REQUIRED(mutex_) {
      return static_cast<size_t>(std::count(events_.begin(), events_.end(), event)) >= count;
    };
    return mutex_.AwaitWithTimeout(absl::Condition(&seen), kPatienceMax);
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
    events_.push_back("update " + request->type());
    return grpc::Status::OK;
  }
  grpc::Status DeleteSeedPeer(grpc::ServerContext*, const manager::v2::DeleteSeedPeerRequest* request,
                              Empty*) override {
    const absl::MutexLock lock(&mutex_);
    events_.push_back(StrCat("delete ", request->hostname(), " ", request->ip(), " ", request->seed_peer_cluster_id()));
    return grpc::Status::OK;
  }
  // As the Go manager: the first message makes the record active, the end of the stream inactive.
  grpc::Status KeepAlive(grpc::ServerContext*, grpc::ServerReader<manager::v2::KeepAliveRequest>* reader,
                         Empty*) override {
    manager::v2::KeepAliveRequest request;
    for (bool first = true; reader->Read(&request); first = false) {
      const absl::MutexLock lock(&mutex_);
      events_.push_back(first ? StrCat("active ", request.hostname(), " ", request.ip(), " ", request.cluster_id())
                              : std::string("beat"));
    }
    const absl::MutexLock lock(&mutex_);
    events_.push_back("inactive");
    return grpc::Status::OK;
  }

 private:
  static constexpr absl::Duration kPatienceMax = absl::Seconds(10);

  const rpc::TlsFiles tls_;
  std::unique_ptr<rpc::Server> server_;
  int port_ = 0;
  mutable absl::Mutex mutex_;
  manager::v2::ListSchedulersResponse list_ ABSL_GUARDED_BY(mutex_);
  grpc::Status list_status_ ABSL_GUARDED_BY(mutex_);
  std::string refused_type_ ABSL_GUARDED_BY(mutex_);
  std::vector<manager::v2::ListSchedulersRequest> lists_ ABSL_GUARDED_BY(mutex_);
  std::vector<std::string> events_ ABSL_GUARDED_BY(mutex_);
  std::vector<manager::v2::UpdateSeedPeerRequest> updates_ ABSL_GUARDED_BY(mutex_);
};

}  // namespace dragonfly::daemon::test
