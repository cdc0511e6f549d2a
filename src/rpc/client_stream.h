// SPDX-License-Identifier: Apache-2.0
// Many words, one answer.
// Included by rpc/client_call.h.
#pragma once

#include <grpcpp/client_context.h>
#include <grpcpp/support/client_callback.h>

#include <boost/asio/awaitable.hpp>
#include <cstddef>
#include <cstdint>
#include <list>
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

template <typename Request, typename Response>
class ClientStreamReactor final : public grpc::ClientWriteReactor<Request>,
                                  public std::enable_shared_from_this<ClientStreamReactor<Request, Response>> {
 public:
  static constexpr size_t kOutboxMax = 1024;  // messages

  grpc::ClientContext& context() { return context_; }
  Response* response() { return &response_; }

  // After the call was made known to gRPC.
  void StartWriting() {
    self_ = this->shared_from_this();
    // Writes begin outside of reactions: the hold keeps the call alive for them until closed_.
    this->AddHold();
    this->StartCall();
  }

  void Write(Request request) {
    absl::MutexLock lock(&mutex_);
    if (closed_ || writes_done_) return;
    if (outbox_.size() >= kOutboxMax) {
      context_.TryCancel();
      return;
    }
    outbox_.push_back(std::move(request));
    if (!writing_) StartNext();
  }

  void WritesDone() {
    absl::MutexLock lock(&mutex_);
    if (closed_ || writes_done_) return;
    writes_done_ = true;
    if (!writing_) HalfClose();
  }

  void Cancel() {
    context_.TryCancel();
    absl::MutexLock lock(&mutex_);
    if (!writing_) Close();
    writes_done_ = true;
  }

  bool ended() {
    absl::MutexLock lock(&mutex_);
    return status_.has_value();
  }

  boost::asio::awaitable<absl::StatusOr<Response>> End(TimePoint deadline) {
    const auto self = this->shared_from_this();
    for (;;) {
      const uint64_t seen = changed_.version();
      if (const std::optional<absl::Status> end = TakeStatus()) {
        if (!end->ok()) co_return *end;
        co_return std::move(response_);
      }
      if (!co_await changed_.Wait(seen, deadline)) {
        co_return absl::DeadlineExceededError("the stream has not ended in time");
      }
    }
  }

  void OnWriteDone(bool ok) override {
    Request written;  // freed outside of the lock
    absl::MutexLock lock(&mutex_);
    writing_ = false;
    written = std::move(outbox_.front());
    outbox_.pop_front();
    if (!ok) {
      // The call has ended; OnDone() tells why.
      outbox_.clear();
      Close();
    } else if (!outbox_.empty()) {
      StartNext();
    } else if (writes_done_) {
      HalfClose();
    }
  }

  void OnDone(const grpc::Status& status) override {
    const std::shared_ptr<ClientStreamReactor> self = std::move(self_);
    {
      absl::MutexLock lock(&mutex_);
      status_ = FromGrpc(status);
    }
    changed_.Notify();
  }

 private:
  void StartNext() ABSL_EXCLUSIVE_LOCKS_REQUIRED(mutex_) {
    writing_ = true;
    this->StartWrite(&outbox_.front());
  }
  void HalfClose() ABSL_EXCLUSIVE_LOCKS_REQUIRED(mutex_) {
    if (closed_) return;
    this->StartWritesDone();
    Close();
  }
  // Nothing is begun outside of reactions any more.
  void Close() ABSL_EXCLUSIVE_LOCKS_REQUIRED(mutex_) {
    if (closed_) return;
    closed_ = true;
    this->RemoveHold();
  }
  std::optional<absl::Status> TakeStatus() {
    absl::MutexLock lock(&mutex_);
    return status_;
  }

  grpc::ClientContext context_;
  Response response_;
  std::shared_ptr<ClientStreamReactor> self_;  // until OnDone()
  runtime::Signal changed_;
  absl::Mutex mutex_;
  bool closed_ ABSL_GUARDED_BY(mutex_) = false;
  bool writing_ ABSL_GUARDED_BY(mutex_) = false;
  bool writes_done_ ABSL_GUARDED_BY(mutex_) = false;
  std::list<Request> outbox_ ABSL_GUARDED_BY(mutex_);  // the first is being written
  std::optional<absl::Status> status_ ABSL_GUARDED_BY(mutex_);
};

}  // namespace internal

// Client side of a client stream (KeepAlive). Writes are queued, one is in flight at a time. It may be dropped at any
// time (the call is then cancelled).
template <typename Request, typename Response>
class ClientStream {
 public:
  using Reactor = internal::ClientStreamReactor<Request, Response>;
  explicit ClientStream(std::shared_ptr<Reactor> reactor) : reactor_(std::move(reactor)) {}
  ClientStream(const ClientStream&) = delete;
  ClientStream& operator=(const ClientStream&) = delete;
  ~ClientStream() { reactor_->Cancel(); }

  // Queues a message; never blocks. Dropped silently after the call has ended. A server that leaves more than 1024
  // unread is given up: the call is cancelled. Any thread.
  void Write(Request request) { reactor_->Write(std::move(request)); }
  // Half-closes after what is queued.
  void WritesDone() { reactor_->WritesDone(); }
  // Completes when the call has ended, with its answer. A server that ends the call early is noticed at the next
  // Write(), not before. Errors: the server's status; DEADLINE_EXCEEDED when it has not ended by `deadline` (the call
  // goes on). Once with success.
  boost::asio::awaitable<absl::StatusOr<Response>> End(TimePoint deadline) { return reactor_->End(deadline); }
  // Whether the call has ended: tells the server's own DEADLINE_EXCEEDED from that of End().
  bool ended() const { return reactor_->ended(); }
  void Cancel() { reactor_->Cancel(); }

 private:
  const std::shared_ptr<Reactor> reactor_;
};

// `start(context, response, reactor)` calls stub->async()->Method(...). No deadline is set for the whole call.
template <typename Request, typename Response, typename Start>
std::shared_ptr<ClientStream<Request, Response>> StartClientStream(Start start) {
  const auto reactor = std::make_shared<internal::ClientStreamReactor<Request, Response>>();
  grpc::ClientWriteReactor<Request>* const base = reactor.get();
  start(&reactor->context(), reactor->response(), base);
  reactor->StartWriting();
  return std::make_shared<ClientStream<Request, Response>>(reactor);
}

}  // namespace dragonfly::rpc
