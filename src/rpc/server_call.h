// SPDX-License-Identifier: Apache-2.0
// gRPC server calls over the callback API, handed over to coroutines. Only .cc files include this.
#pragma once

#include <grpcpp/support/server_callback.h>

#include <boost/asio/any_io_executor.hpp>
#include <boost/asio/awaitable.hpp>
#include <functional>
#include <memory>
#include <optional>

#include "absl/status/status.h"
#include "rpc/status.h"
#include "runtime/clock.h"
#include "runtime/task_group.h"

namespace dragonfly::rpc {

// Answers a unary call from a coroutine: `handle` runs in `group` (on its executor), fills `*response` and returns the
// status. Example, inside a CallbackService method:
//   return ServeUnary(context, group, [this, request, response] { return StatTask(*request, response); });
// `handle` makes the awaitable; gRPC keeps request and response alive until the call has finished.
grpc::ServerUnaryReactor* ServeUnary(grpc::CallbackServerContext* context, runtime::TaskGroup& group,
                                     std::function<boost::asio::awaitable<absl::Status>()> handle);

// Server side of a server stream.
template <typename Response>
class ResponseWriter {
 public:
  // Queues a message and suspends while more than `kOutboxMax` bytes wait for a slow reader. Errors: CANCELLED when the
  // caller has gone.
  boost::asio::awaitable<absl::Status> Write(Response response);
  // True after the caller has gone or the call was cancelled.
  bool cancelled() const;
  static constexpr size_t kOutboxMax = 8 << 20;  // bytes
};

// Initial metadata is sent at once. `handle(writer)` runs in `group`; what it returns ends the call. It is cancelled when
// the caller goes away, unless `keep_running` is set: then it runs on and its writes fail.
template <typename Response>
grpc::ServerWriteReactor<Response>* ServeStream(
    grpc::CallbackServerContext* context, runtime::TaskGroup& group,
    std::function<boost::asio::awaitable<absl::Status>(std::shared_ptr<ResponseWriter<Response>>)> handle,
    bool keep_running = false);

// Server side of a bidirectional stream, driven by events: for servers that hold many of them with little memory and no
// coroutine each (the scheduler). Every callback runs on `executor`, never two at a time for one stream.
template <typename Request, typename Response>
class BidiSession {
 public:
  struct Callbacks {
    std::function<void(Request)> on_message;
    // The client half-closed, went away, or the call was cancelled. Called once, not after Finish().
    std::function<void(bool half_closed)> on_end;
  };
  // Any thread.
  void Write(Response response);
  // Ends the call after what is queued was written. Any thread; later calls do nothing.
  void Finish(absl::Status status);
};

// Sends initial metadata at once, and reads one message after another; the next is read when on_message has returned.
// `open(session)` is called on `executor` before anything else and returns the callbacks.
template <typename Request, typename Response>
grpc::ServerBidiReactor<Request, Response>* ServeBidi(
    grpc::CallbackServerContext* context, boost::asio::any_io_executor executor,
    std::function<typename BidiSession<Request, Response>::Callbacks(std::shared_ptr<BidiSession<Request, Response>>)>
        open);

}  // namespace dragonfly::rpc
