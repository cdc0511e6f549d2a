// SPDX-License-Identifier: Apache-2.0
// A manager that the test plays, behind real gRPC.
#pragma once

#include <algorithm>
#include <functional>
#include <memory>
#include <string>
#include <utility>
#include <vector>

#include "absl/base/thread_annotations.h"
#include "absl/synchronization/mutex.h"
#include "base/text.h"
#include "gtest/gtest.h"
#include "manager/v2/manager.grpc.pb.h"
#include "rpc/server.h"

namespace dragonfly::scheduler::testing {

// What the Go manager does with a scheduler, without its database.
class FakeManager final : public manager::v2::Manager::Service {
 public:
  FakeManager() { Serve(0); }
  explicit FakeManager(rpc::TlsFiles tls) : tls_(std::move(tls)) { Serve(0); }
  ~FakeManager() override { Stop(); }

  // Serves, again, on the port of before.
  void Serve(int port) {
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
  std::string address() const { return "127.0.0.1:" + std::to_string(port_); }

  void Change(const std::function<void(manager::v2::Scheduler&, manager::v2::ListApplicationsResponse&)>& change) {
    absl::MutexLock lock(&mutex_);
    change(scheduler_, applications_);
  }
  // Deletes the record.
  void Forget() {
    absl::MutexLock lock(&mutex_);
    registration_.Clear();
  }
  bool WaitForEvent(const std::string& event, size_t count = 1) {
    absl::MutexLock lock(&mutex_);
    const auto seen = [&] {
      mutex_.AssertHeld();
      return static_cast<size_t>(std::count(events_.begin(), events_.end(), event)) >= count;
    };
    return mutex_.AwaitWithTimeout(absl::Condition(&seen), absl::Seconds(20));
  }
  manager::v2::UpdateSchedulerRequest registration() {
    absl::MutexLock lock(&mutex_);
    return registration_;
  }

  grpc::Status UpdateScheduler(grpc::ServerContext*, const manager::v2::UpdateSchedulerRequest* request,
                               manager::v2::Scheduler*) override {
    absl::MutexLock lock(&mutex_);
    registration_ = *request;
    events_.push_back("update");
    return grpc::Status::OK;
  }
  grpc::Status GetScheduler(grpc::ServerContext*, const manager::v2::GetSchedulerRequest* request,
                            manager::v2::Scheduler* answer) override {
    absl::MutexLock lock(&mutex_);
    events_.push_back("get");
    // As manager v2.3.0: the record is there from the registration on.
    if (registration_.hostname() != request->hostname()) return grpc::Status(grpc::INTERNAL, "record not found");
    *answer = scheduler_;
    return grpc::Status::OK;
  }
  grpc::Status ListApplications(grpc::ServerContext*, const manager::v2::ListApplicationsRequest*,
                                manager::v2::ListApplicationsResponse* answer) override {
    absl::MutexLock lock(&mutex_);
    if (applications_.applications().empty()) return grpc::Status(grpc::NOT_FOUND, "application not found");
    *answer = applications_;
    return grpc::Status::OK;
  }
  grpc::Status KeepAlive(grpc::ServerContext*, grpc::ServerReader<manager::v2::KeepAliveRequest>* reader,
                         google::protobuf::Empty*) override {
    manager::v2::KeepAliveRequest request;
    while (reader->Read(&request)) {
      absl::MutexLock lock(&mutex_);
      events_.push_back(StrCat("beat ", request.hostname(), " ", request.ip(), " ", request.cluster_id()));
    }
    absl::MutexLock lock(&mutex_);
    events_.push_back("inactive");
    return grpc::Status::OK;
  }

 private:
  const rpc::TlsFiles tls_;
  std::unique_ptr<rpc::Server> server_;
  int port_ = 0;
  absl::Mutex mutex_;
  manager::v2::Scheduler scheduler_ ABSL_GUARDED_BY(mutex_);
  manager::v2::ListApplicationsResponse applications_ ABSL_GUARDED_BY(mutex_);
  manager::v2::UpdateSchedulerRequest registration_ ABSL_GUARDED_BY(mutex_);
  std::vector<std::string> events_ ABSL_GUARDED_BY(mutex_);
};

}  // namespace dragonfly::scheduler::testing
