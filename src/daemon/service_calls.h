// SPDX-License-Identifier: Apache-2.0
// The calls of one gRPC service: each asks the gate and then runs on the thread of its task. Only .cc files include
// this.
#pragma once

#include <boost/asio/awaitable.hpp>
#include <functional>
#include <memory>
#include <string_view>
#include <utility>

#include "absl/status/status.h"
#include "daemon/call_gate.h"
#include "daemon/io_groups.h"
#include "rpc/response_writer.h"
#include "rpc/server_call.h"

namespace dragonfly::daemon {

// Thread-safe.
class ServiceCalls {
 public:
  // Both must outlive it.
  ServiceCalls(runtime::IoThreads& io, CallGate& gate) : groups_(io), gate_(gate) {}

  CallGate& gate() { return gate_; }

  // rpc::ServeUnary() behind the gate, on the thread of `key` (a task id, or "").
  grpc::ServerUnaryReactor* Unary(grpc::CallbackServerContext* context, std::string_view key,
                                  std::function<boost::asio::awaitable<absl::Status>()> handle) {
    return rpc::ServeUnary(context, groups_.For(key), [gate = &gate_, handle = std::move(handle)] {
      return Guarded(*gate, CallKind::kUnary, handle);
    });
  }

  // rpc::ServeStream() likewise.
  template <typename Response>
  grpc::ServerWriteReactor<Response>* Stream(
      grpc::CallbackServerContext* context, std::string_view key,
      std::function<boost::asio::awaitable<absl::Status>(std::shared_ptr<rpc::ResponseWriter<Response>>)> handle,
      rpc::Headers headers = rpc::Headers::kAtOnce) {
    auto guarded = [gate = &gate_, handle = std::move(handle)](std::shared_ptr<rpc::ResponseWriter<Response>> writer) {
      auto begin = [handle, writer = std::move(writer)] { return handle(writer); };
      return Guarded(*gate, CallKind::kStream, std::move(begin));
    };
    return rpc::ServeStream<Response>(context, groups_.For(key), std::move(guarded), /*keep_running=*/false, headers);
  }

  // Cancels what runs and waits for its end.
  boost::asio::awaitable<void> Stop() { return groups_.Stop(); }

 private:
  static boost::asio::awaitable<absl::Status> Guarded(CallGate& gate, CallKind kind,
                                                      std::function<boost::asio::awaitable<absl::Status>()> handle) {
    // Held until the call has ended.
    const absl::StatusOr<CallGate::Pass> pass = co_await gate.Enter(kind);
    if (!pass.ok()) co_return pass.status();
    co_return co_await handle();
  }

  IoGroups groups_;
  CallGate& gate_;
};

}  // namespace dragonfly::daemon
