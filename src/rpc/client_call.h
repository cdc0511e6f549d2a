// SPDX-License-Identifier: Apache-2.0
// gRPC client calls as coroutines over the callback API. The reactors run on gRPC's threads; the coroutines that wait
// resume on their own executor. Only .cc files include this (it pulls in grpc++).
#pragma once

#include <grpcpp/client_context.h>
#include <grpcpp/support/client_callback.h>

#include <boost/asio/awaitable.hpp>
#include <functional>
#include <memory>
#include <optional>

#include "absl/status/statusor.h"
#include "rpc/status.h"
#include "runtime/clock.h"

namespace dragonfly::rpc {

// One unary call with a deadline of `timeout` for the whole. Example:
//   auto reply = co_await Unary<StatTaskResponse>(
//       [&](grpc::ClientContext* c, const StatTaskRequest* q, StatTaskResponse* r, std::function<void(grpc::Status)> f) {
//         stub->async()->StatTask(c, q, r, std::move(f)); }, request, timeout);
// Cancellation of the coroutine cancels the call.
template <typename Response, typename Request, typename Start>
boost::asio::awaitable<absl::StatusOr<Response>> Unary(Start start, Request request, Clock::duration timeout);

// Client side of a server stream. Made by StartServerStream(); shared with the reactor, so it may be dropped at any
// time (the call is then cancelled).
template <typename Response>
class ServerStream {
 public:
  // The next message; nullopt when the server has ended the stream with OK. Errors: the server's status; an error of
  // DEADLINE_EXCEEDED (the call is then cancelled) when neither came before `deadline`.
  boost::asio::awaitable<absl::StatusOr<std::optional<Response>>> Read(TimePoint deadline);
  void Cancel();
};

// `start(context, request, reactor)` calls stub->async()->Method(...). No whole-call deadline is set: the wait for each
// message is bounded by Read().
template <typename Response, typename Request, typename Start>
std::shared_ptr<ServerStream<Response>> StartServerStream(Start start, Request request);

// Client side of a bidirectional stream (AnnouncePeer). Writes are queued, one is in flight at a time.
template <typename Request, typename Response>
class BidiStream {
 public:
  // Queues a message; never blocks. Dropped silently after the call has ended (Read() tells why). Any thread.
  void Write(Request request);
  // Half-closes after what is queued.
  void WritesDone();
  // As ServerStream::Read.
  boost::asio::awaitable<absl::StatusOr<std::optional<Response>>> Read(TimePoint deadline);
  void Cancel();
};

template <typename Request, typename Response, typename Start>
std::shared_ptr<BidiStream<Request, Response>> StartBidiStream(Start start);

}  // namespace dragonfly::rpc
