// SPDX-License-Identifier: Apache-2.0
// A manager that a test plays, behind real gRPC: what a daemon's and a scheduler's tests have in common.
#pragma once

#include <grpcpp/server_context.h>
#include <grpcpp/support/status.h>
#include <grpcpp/support/sync_stream.h>
#include <gtest/gtest.h>

#include <algorithm>
#include <memory>
#include <string>
#include <utility>
#include <vector>

#include "absl/base/thread_annotations.h"
#include "absl/synchronization/mutex.h"
#include "absl/time/time.h"
#include "base/text.h"
#include "manager/v2/manager.grpc.pb.h"
#include "rpc/server.h"
#include "runtime/clock.h"

namespace dragonfly::testing {

// Who derives from it calls Start() at the end of its constructor, and Stop() in its destructor.
class PlayedManager : public manager::v2::Manager::Service {
 public:
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
  std::string address() const { return StrCat("127.0.0.1:", port_); }

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
  explicit PlayedManager(rpc::TlsFiles tls) : tls_(std::move(tls)) {}
  bool encrypted() const { return tls_.enabled(); }
  void Note(std::string event) ABSL_EXCLUSIVE_LOCKS_REQUIRED(mutex_) { events_.push_back(std::move(event)); }

  mutable absl::Mutex mutex_;

 private:
  const rpc::TlsFiles tls_;
  std::unique_ptr<rpc::Server> server_;
  int port_ = 0;
  std::vector<std::string> events_ ABSL_GUARDED_BY(mutex_);
};

}  // namespace dragonfly::testing
