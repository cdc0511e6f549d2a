// SPDX-License-Identifier: Apache-2.0
// gRPC client calls as coroutines over the callback API. The reactors run on gRPC's threads; the coroutines that wait
// resume on their own executor. Only .cc files include this (it pulls in grpc++).
//
// Lifetimes: what gRPC writes into is shared between the caller and the call, so either may go first. Executors are
// used only while a coroutine waits on them.
#pragma once

#include <grpcpp/client_context.h>
#include <grpcpp/support/client_callback.h>

#include <boost/asio/awaitable.hpp>
#include <chrono>
#include <cstddef>
#include <cstdint>
#include <functional>
#include <list>
#include <memory>
#include <optional>
#include <string>
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

namespace internal {

// Messages of a stream on their way from gRPC's threads to the one coroutine that reads them. A few are read ahead, so
// that a burst of small ones costs one wake-up; a slow reader stops the reading and thereby the sender.
//
// `Base` is the reactor; the derived class starts it. The object owns itself while the call lives.
template <typename Base, typename Response>
class ReadingReactor : public Base, public std::enable_shared_from_this<ReadingReactor<Base, Response>> {
 public:
  static constexpr size_t kReadAheadMessages = 64;
  static constexpr size_t kReadAheadBytes = 1 << 20;

  grpc::ClientContext& context() { return context_; }

  std::optional<std::string> Metadata(const std::string& name) {
    const auto& metadata = context_.GetServerInitialMetadata();
    const auto found = metadata.find(name);
    if (found == metadata.end()) return std::nullopt;
    return std::string(found->second.data(), found->second.size());
  }

  // After the derived class has made the call known to gRPC.
  void StartReading() {
    self_ = this->shared_from_this();
    // Reads and writes begin outside of reactions, too: the hold keeps the call alive for them until closed_.
    this->AddHold();
    this->StartRead(&incoming_);
    this->StartCall();
  }

  // The caller's handle has gone, or the caller gives up. Any thread.
  void Cancel() {
    context_.TryCancel();
    absl::MutexLock lock(&mutex_);
    abandoned_ = true;
    if (!reading_) Close();
  }

  boost::asio::awaitable<absl::StatusOr<std::optional<Response>>> Read(TimePoint deadline) {
    const auto self = this->shared_from_this();
    for (;;) {
      const uint64_t seen = changed_.version();
      std::optional<Response> message;
      if (const std::optional<absl::Status> end = Take(message)) {
        if (!end->ok()) co_return *end;
        co_return std::nullopt;
      }
      if (message) co_return std::move(message);
      if (!co_await changed_.Wait(seen, deadline)) {
        Cancel();
        co_return absl::DeadlineExceededError("no message of the stream in time");
      }
    }
  }

  void OnReadDone(bool ok) override {
    {
      absl::MutexLock lock(&mutex_);
      reading_ = false;
      if (ok) {
        const size_t bytes = incoming_.ByteSizeLong();
        inbox_.push_back(Message{std::move(incoming_), bytes});
        inbox_bytes_ += bytes;
        incoming_ = Response();
      }
      if (!ok || abandoned_)
        Close();
      else
        ReadAhead();
    }
    changed_.Notify();
  }

  void OnDone(const grpc::Status& status) override {
    const std::shared_ptr<ReadingReactor> self = std::move(self_);
    {
      absl::MutexLock lock(&mutex_);
      status_ = FromGrpc(status);
    }
    changed_.Notify();
  }

 protected:
  // Ends what is begun outside of reactions, exactly once.
  void Close() ABSL_EXCLUSIVE_LOCKS_REQUIRED(mutex_) {
    if (closed_) return;
    closed_ = true;
    this->RemoveHold();
  }

  absl::Mutex mutex_;
  bool closed_ ABSL_GUARDED_BY(mutex_) = false;

 private:
  struct Message {
    Response response;
    size_t bytes;
  };

  // The next message, or how the stream has ended; neither when it has to be waited for.
  std::optional<absl::Status> Take(std::optional<Response>& message) {
    absl::MutexLock lock(&mutex_);
    if (inbox_.empty()) return status_;
    message = std::move(inbox_.front().response);
    inbox_bytes_ -= inbox_.front().bytes;
    inbox_.pop_front();
    if (!reading_ && !closed_) ReadAhead();
    return std::nullopt;
  }

  void ReadAhead() ABSL_EXCLUSIVE_LOCKS_REQUIRED(mutex_) {
    if (inbox_.size() >= kReadAheadMessages || inbox_bytes_ >= kReadAheadBytes) return;
    reading_ = true;
    this->StartRead(&incoming_);
  }

  grpc::ClientContext context_;
  std::shared_ptr<ReadingReactor> self_;  // until OnDone()
  runtime::Signal changed_;
  Response incoming_;  // belongs to gRPC while reading_
  bool reading_ ABSL_GUARDED_BY(mutex_) = true;
  bool abandoned_ ABSL_GUARDED_BY(mutex_) = false;
  std::list<Message> inbox_ ABSL_GUARDED_BY(mutex_);
  size_t inbox_bytes_ ABSL_GUARDED_BY(mutex_) = 0;
  std::optional<absl::Status> status_ ABSL_GUARDED_BY(mutex_);
};

template <typename Request, typename Response>
class ServerStreamReactor final : public ReadingReactor<grpc::ClientReadReactor<Response>, Response> {
 public:
  explicit ServerStreamReactor(Request request) : request_(std::move(request)) {}
  const Request& request() const { return request_; }

 private:
  const Request request_;
};

template <typename Request, typename Response>
class BidiReactor final : public ReadingReactor<grpc::ClientBidiReactor<Request, Response>, Response> {
 public:
  static constexpr size_t kOutboxMax = 64 << 20;  // bytes

  void Write(Request request, bool may_wait) {
    const size_t bytes = request.ByteSizeLong();
    absl::MutexLock lock(&this->mutex_);
    if (this->closed_ || writes_done_) return;
    if (outbox_bytes_ > kOutboxMax) {
      // The server has stopped reading; what it does not know by now it never will.
      this->context().TryCancel();
      return;
    }
    outbox_.push_back(Message{std::move(request), bytes, may_wait});
    outbox_bytes_ += bytes;
    if (!writing_) StartNext();
  }

  void WritesDone() {
    absl::MutexLock lock(&this->mutex_);
    if (this->closed_ || writes_done_) return;
    writes_done_ = true;
    if (!writing_) this->StartWritesDone();
  }

  void OnWriteDone(bool ok) override {
    std::list<Message> written;  // freed outside of the lock
    absl::MutexLock lock(&this->mutex_);
    writing_ = false;
    if (ok) {
      outbox_bytes_ -= outbox_.front().bytes;
      written.splice(written.end(), outbox_, outbox_.begin());
    } else {
      outbox_bytes_ = 0;
      written.swap(outbox_);
    }
    // A call that has ended takes no more writes; OnReadDone() tells the reader why.
    if (this->closed_ || !ok) return;
    if (!outbox_.empty())
      StartNext();
    else if (writes_done_)
      this->StartWritesDone();
  }

 private:
  struct Message {
    Request request;
    size_t bytes;
    bool may_wait;
  };

  void StartNext() ABSL_EXCLUSIVE_LOCKS_REQUIRED(this->mutex_) {
    writing_ = true;
    grpc::WriteOptions options;
    // What has another message behind it goes out with that one.
    if (outbox_.front().may_wait || outbox_.size() > 1) options.set_buffer_hint();
    this->StartWrite(&outbox_.front().request, options);
  }

  bool writing_ ABSL_GUARDED_BY(this->mutex_) = false;
  bool writes_done_ ABSL_GUARDED_BY(this->mutex_) = false;
  std::list<Message> outbox_ ABSL_GUARDED_BY(this->mutex_);  // the first is being written
  size_t outbox_bytes_ ABSL_GUARDED_BY(this->mutex_) = 0;
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

// Client side of a bidirectional stream (AnnouncePeer). Writes are queued, one is in flight at a time. It may be
// dropped at any time (the call is then cancelled).
template <typename Request, typename Response>
class BidiStream {
 public:
  using Reactor = internal::BidiReactor<Request, Response>;
  explicit BidiStream(std::shared_ptr<Reactor> reactor) : reactor_(std::move(reactor)) {}
  BidiStream(const BidiStream&) = delete;
  BidiStream& operator=(const BidiStream&) = delete;
  ~BidiStream() { reactor_->Cancel(); }

  // Queues a message; never blocks. Dropped silently after the call has ended (Read() tells why). A server that leaves
  // more than 64 MiB unread is given up: the call is cancelled. Any thread.
  void Write(Request request) { reactor_->Write(std::move(request), /*may_wait=*/false); }
  // The same for a message that nobody waits for: it may stay behind until a later Write(), WritesDone() or some 64
  // KiB.
  void WriteWithNext(Request request) { reactor_->Write(std::move(request), /*may_wait=*/true); }
  // Half-closes after what is queued.
  void WritesDone() { reactor_->WritesDone(); }
  // As ServerStream::Read.
  boost::asio::awaitable<absl::StatusOr<std::optional<Response>>> Read(TimePoint deadline) {
    return reactor_->Read(deadline);
  }
  void Cancel() { reactor_->Cancel(); }

 private:
  const std::shared_ptr<Reactor> reactor_;
};

// `start(context, reactor)` calls stub->async()->Method(...).
template <typename Request, typename Response, typename Start>
std::shared_ptr<BidiStream<Request, Response>> StartBidiStream(Start start) {
  const auto reactor = std::make_shared<internal::BidiReactor<Request, Response>>();
  grpc::ClientBidiReactor<Request, Response>* const base = reactor.get();
  start(&reactor->context(), base);
  reactor->StartReading();
  return std::make_shared<BidiStream<Request, Response>>(reactor);
}

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
