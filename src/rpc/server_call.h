// SPDX-License-Identifier: Apache-2.0
// gRPC server calls over the callback API, handed over to coroutines: unary calls, and what runs the coroutine of any
// call. Streams: response_writer.h, bidi_session.h. Only .cc files include this.
//
// Lifetimes: a reactor belongs to gRPC from the moment the service method returns it and frees itself in OnDone(); what
// is shared with coroutines outlives it, and forgets it when the call is finished. The executors must outlive the
// server.
#pragma once

#include <grpcpp/server_context.h>
#include <grpcpp/support/server_callback.h>

#include <boost/asio/any_io_executor.hpp>
#include <boost/asio/awaitable.hpp>
#include <boost/asio/cancellation_signal.hpp>
#include <functional>
#include <memory>
#include <optional>
#include <utility>

#include "absl/base/thread_annotations.h"
#include "absl/status/status.h"
#include "absl/synchronization/mutex.h"
#include "runtime/task_group.h"

namespace dragonfly::rpc {

// Answers a unary call from a coroutine: `handle` runs in `group` (on its executor), fills `*response` and returns the
// status. It is cancelled when the caller goes away. Example, inside a CallbackService method:
//   return ServeUnary(context, group, [this, request, response] { return StatTask(*request, response); });
// `handle` makes the awaitable; gRPC keeps request and response alive until the call has finished. A group that was
// stopped answers UNAVAILABLE.
grpc::ServerUnaryReactor* ServeUnary(grpc::CallbackServerContext* context, runtime::TaskGroup& group,
                                     std::function<boost::asio::awaitable<absl::Status>()> handle);

namespace internal {

// The coroutine of one call. It sees to it that the call ends exactly once, also when the group drops or cancels the
// coroutine, or when it throws.
class Handler : public std::enable_shared_from_this<Handler> {
 public:
  using Work = std::function<boost::asio::awaitable<absl::Status>()>;
  // Called once, on any thread; may free whoever owns the call's reactor.
  using Finish = std::function<void(const absl::Status&)>;

  Handler(Work work, Finish finish) : work_(std::move(work)), finish_(std::move(finish)) {}
  // Once.
  void Start(runtime::TaskGroup& group);
  // The caller has gone: cancels the coroutine. Any thread.
  void Cancel();

 private:
  class Ending;
  static boost::asio::awaitable<void> Run(std::shared_ptr<Handler> self, Ending ending);
  boost::asio::awaitable<absl::Status> RunWork();
  // Until Leave(), Cancel() may use the executor. False when the caller has gone already.
  bool Enter(const boost::asio::any_io_executor& executor);
  void Leave();

  Work work_;
  Finish finish_;
  boost::asio::cancellation_signal cancellation_;  // used on the executor only
  absl::Mutex mutex_;
  bool cancelled_ ABSL_GUARDED_BY(mutex_) = false;
  std::optional<boost::asio::any_io_executor> executor_ ABSL_GUARDED_BY(mutex_);
};

}  // namespace internal

}  // namespace dragonfly::rpc
