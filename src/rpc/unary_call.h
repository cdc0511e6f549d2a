// SPDX-License-Identifier: Apache-2.0
// One question, one answer.
// Included by rpc/client_call.h.
#pragma once

#include <grpcpp/client_context.h>
#include <grpcpp/support/status.h>

#include <boost/asio/awaitable.hpp>
#include <chrono>
#include <cstdint>
#include <functional>
#include <memory>
#include <optional>
#include <utility>

#include "absl/base/thread_annotations.h"
#include "absl/status/statusor.h"
#include "absl/synchronization/mutex.h"
#include "rpc/status.h"
#include "runtime/clock.h"
#include "runtime/signal.h"

namespace dragonfly::rpc {

namespace internal {

// Cancels a call when the coroutine that waits for it is cancelled or destroyed.
class CancelGuard {
 public:
  explicit CancelGuard(grpc::ClientContext* context) : context_(context) {}
  CancelGuard(const CancelGuard&) = delete;
  CancelGuard& operator=(const CancelGuard&) = delete;
  ~CancelGuard() {
    if (context_ != nullptr) context_->TryCancel();
  }
  void Release() { context_ = nullptr; }

 private:
  grpc::ClientContext* context_;
};

template <typename Request, typename Response>
struct UnaryCall {
  explicit UnaryCall(Request r) : request(std::move(r)) {}

  void Done(grpc::Status s) {
    {
      absl::MutexLock lock(&mutex);
      status = std::move(s);
    }
    changed.Notify();
  }
  std::optional<grpc::Status> TakeStatus() {
    absl::MutexLock lock(&mutex);
    return std::move(status);
  }

  grpc::ClientContext context;
  const Request request;
  Response response;
  runtime::Signal changed;
  absl::Mutex mutex;
  std::optional<grpc::Status> status ABSL_GUARDED_BY(mutex);
};

}  // namespace internal

// One unary call with a deadline of `timeout` for the whole. Example:
//   auto reply = co_await Unary<StatTaskResponse>(
//       [&](grpc::ClientContext* c, const StatTaskRequest* q, StatTaskResponse* r, std::function<void(grpc::Status)> f)
//       {
//         stub->async()->StatTask(c, q, r, std::move(f)); }, request, timeout);
// `start` is called once, before the first suspension. Cancellation of the coroutine cancels the call.
template <typename Response, typename Request, typename Start>
boost::asio::awaitable<absl::StatusOr<Response>> Unary(Start start, Request request, Clock::duration timeout) {
  // gRPC wants the time of the wall clock, which does not reach as far as ours.
  constexpr std::chrono::hours kTimeoutMax{24 * 365};
  const auto call = std::make_shared<internal::UnaryCall<Request, Response>>(std::move(request));
  if (timeout < kTimeoutMax)
    call->context.set_deadline(std::chrono::system_clock::now() +
                               std::chrono::duration_cast<std::chrono::system_clock::duration>(timeout));
  internal::CancelGuard guard(&call->context);
  std::function<void(grpc::Status)> done = [call](grpc::Status status) { call->Done(std::move(status)); };
  start(&call->context, &call->request, &call->response, std::move(done));
  for (;;) {
    const uint64_t seen = call->changed.version();
    if (const std::optional<grpc::Status> status = call->TakeStatus()) {
      guard.Release();
      if (!status->ok()) co_return FromGrpc(*status);
      co_return std::move(call->response);
    }
    co_await call->changed.Wait(seen);
  }
}

}  // namespace dragonfly::rpc
