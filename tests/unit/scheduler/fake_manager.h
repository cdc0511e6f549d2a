// SPDX-License-Identifier: Apache-2.0
// A manager that the test plays, behind real gRPC.
#pragma once

#include <functional>
#include <string>
#include <utility>

#include "absl/base/thread_annotations.h"
#include "absl/synchronization/mutex.h"
#include "base/text.h"
#include "tests/support/played_manager.h"

namespace dragonfly::scheduler::testing {

// What the Go manager does with a scheduler, without its database.
class FakeManager final : public dragonfly::testing::PlayedManager {
 public:
  FakeManager() { Start(0); }
  explicit FakeManager(rpc::TlsFiles tls) : PlayedManager(std::move(tls)) { Start(0); }
  ~FakeManager() override { Stop(); }

  void Change(const std::function<void(manager::v2::Scheduler&, manager::v2::ListApplicationsResponse&)>& change) {
    absl::MutexLock lock(&mutex_);
    change(scheduler_, applications_);
  }
  // Deletes the record.
  void Forget() {
    absl::MutexLock lock(&mutex_);
    registration_.Clear();
  }
  manager::v2::UpdateSchedulerRequest registration() {
    absl::MutexLock lock(&mutex_);
    return registration_;
  }

  grpc::Status UpdateScheduler(grpc::ServerContext*, const manager::v2::UpdateSchedulerRequest* request,
                               manager::v2::Scheduler*) override {
    absl::MutexLock lock(&mutex_);
    registration_ = *request;
    Note("update");
    return grpc::Status::OK;
  }
  grpc::Status GetScheduler(grpc::ServerContext*, const manager::v2::GetSchedulerRequest* request,
                            manager::v2::Scheduler* answer) override {
    absl::MutexLock lock(&mutex_);
    Note("get");
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
      Note(StrCat("beat ", request.hostname(), " ", request.ip(), " ", request.cluster_id()));
    }
    absl::MutexLock lock(&mutex_);
    Note("inactive");
    return grpc::Status::OK;
  }

 private:
  manager::v2::Scheduler scheduler_ ABSL_GUARDED_BY(mutex_);
  manager::v2::ListApplicationsResponse applications_ ABSL_GUARDED_BY(mutex_);
  manager::v2::UpdateSchedulerRequest registration_ ABSL_GUARDED_BY(mutex_);
};

}  // namespace dragonfly::scheduler::testing
