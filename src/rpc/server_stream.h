// SPDX-License-Identifier: Apache-2.0
// One question, many answers.
// Included by rpc/client_call.h.
#pragma once

#include <grpcpp/support/client_callback.h>

#include <boost/asio/awaitable.hpp>
#include <memory>
#include <optional>
#include <string>
#include <utility>

#include "absl/status/statusor.h"
#include "rpc/reading_reactor.h"
#include "runtime/clock.h"

namespace dragonfly::rpc {

namespace internal {

template <typename Request, typename Response>
class ServerStreamReactor final : public ReadingReactor<grpc::ClientReadReactor<Response>, Response> {
 public:
  explicit ServerStreamReactor(Request request) : request_(std::move(request)) {}
  const Request& request() const { return request_; }

 private:
  const Request request_;
};

}  // namespace internal

// Client side of a server stream. Made by StartServerStream(); it may be dropped at any time (the call is then
// cancelled).
template <typename Response>
class ServerStream {
 public:
  using Reactor = internal::ReadingReactor<grpc::ClientReadReactor<Response>, Response>;
  explicit ServerStream(std::shared_ptr<Reactor> reactor) : reactor_(std::move(reactor)) {}
  ServerStream(const ServerStream&) = delete;
  ServerStream& operator=(const ServerStream&) = delete;
  ~ServerStream() { reactor_->Cancel(); }

  // The next message; nullopt when the server has ended the stream with OK. Errors: the server's status; an error of
  // DEADLINE_EXCEEDED (the call is then cancelled) when neither came before `deadline`. One reader at a time. A Read()
  // that is cancelled loses no message and leaves the call alive.
  boost::asio::awaitable<absl::StatusOr<std::optional<Response>>> Read(TimePoint deadline) {
    return reactor_->Read(deadline);
  }
  // A value of the server's initial metadata. Only after Read() has returned a message.
  std::optional<std::string> Metadata(const std::string& name) const { return reactor_->Metadata(name); }
  void Cancel() { reactor_->Cancel(); }

 private:
  const std::shared_ptr<Reactor> reactor_;
};

// `start(context, request, reactor)` calls stub->async()->Method(...). No whole-call deadline is set: the wait for each
// message is bounded by Read().
template <typename Response, typename Request, typename Start>
std::shared_ptr<ServerStream<Response>> StartServerStream(Start start, Request request) {
  const auto reactor = std::make_shared<internal::ServerStreamReactor<Request, Response>>(std::move(request));
  grpc::ClientReadReactor<Response>* const base = reactor.get();
  start(&reactor->context(), &reactor->request(), base);
  reactor->StartReading();
  return std::make_shared<ServerStream<Response>>(reactor);
}

}  // namespace dragonfly::rpc
