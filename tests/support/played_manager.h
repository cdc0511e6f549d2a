// SPDX-License-Identifier: Apache-2.0
// A manager that a test plays, behind real gRPC: what a daemon's and a scheduler's tests have in common.
#pragma once

#include <grpcpp/server_context.h>
#include <grpcpp/support/status.h>
#include <grpcpp/support/sync_stream.h>

#include <algorithm>
#include <string>
#include <utility>
#include <vector>

#include "absl/base/thread_annotations.h"
#include "absl/synchronization/mutex.h"
#include "absl/time/time.h"
#include "manager/v2/manager.grpc.pb.h"
#include "tests/support/played_service.h"

namespace dragonfly::testing {

class PlayedManager : public PlayedService<manager::v2::Manager::Service> {
 public:
  // What callers have done, in order.
  std::vector<std::string> events() const {
    const absl::MutexLock lock(&mutex_);
    return events_;
  }
  bool WaitForEvent(const std::string& event, size_t count = 1) const {
    const absl::MutexLock lock(&mutex_);
    const auto seen = [&]() ABSL_EXCLUSIVE_LOCKS_REQUIRED(mutex_) {
      return static_cast<size_t>(std::count(events_.begin(), events_.end(), event)) >= count;
    };
    return mutex_.AwaitWithTimeout(absl::Condition(&seen), kPatienceMax);
  }

 protected:
  static constexpr absl::Duration kPatienceMax = absl::Seconds(20);

  PlayedManager() = default;
  explicit PlayedManager(rpc::TlsFiles tls) : PlayedService(std::move(tls)) {}
  void Note(std::string event) ABSL_EXCLUSIVE_LOCKS_REQUIRED(mutex_) { events_.push_back(std::move(event)); }

  mutable absl::Mutex mutex_;

 private:
  std::vector<std::string> events_ ABSL_GUARDED_BY(mutex_);
};

}  // namespace dragonfly::testing
