// SPDX-License-Identifier: Apache-2.0
// gRPC bidirectional streams, answered by callbacks on an executor. Only .cc files include this. Lifetimes: see
// server_call.h.
#pragma once

#include <grpcpp/server_context.h>
#include <grpcpp/support/server_callback.h>

#include <boost/asio/any_io_executor.hpp>
#include <boost/asio/post.hpp>
#include <cstddef>
#include <functional>
#include <memory>
#include <optional>
#include <utility>
#include <vector>

#include "absl/base/thread_annotations.h"
#include "absl/status/status.h"
#include "absl/synchronization/mutex.h"
#include "rpc/outbox.h"
#include "rpc/status.h"

namespace dragonfly::rpc {

// Server side of a bidirectional stream, driven by events: for servers that hold many of them with little memory and no
// coroutine each (the scheduler). Every callback runs on `executor`, which runs one thing at a time in the order in
// which it is posted.
//
// The next message is read on gRPC's thread while the executor has this one, so that the executor neither waits for nor
// runs the library. What is read ahead is bounded by kInboxMax and kInboxBytesMax: then the client has to wait.
template <typename Request, typename Response>
class BidiSession final : private grpc::ServerBidiReactor<Request, Response>,
                          public std::enable_shared_from_this<BidiSession<Request, Response>> {
  using Reactor = grpc::ServerBidiReactor<Request, Response>;

 public:
  struct Callbacks {
    std::function<void(Request)> on_message;
    // The client half-closed, went away, or the call was cancelled. Called once, after all messages that have come, not
    // after Finish(). A client that goes away may be seen as half-closed when the two events meet.
    std::function<void(bool half_closed)> on_end;
  };
  using Open = std::function<Callbacks(std::shared_ptr<BidiSession>)>;
  using Route = std::function<boost::asio::any_io_executor(const Request&)>;

  // A client that lets more than this wait unread is cut off.
  static constexpr size_t kOutboxMax = 4 << 20;  // bytes
  // With more than this before the executor nothing is read.
  static constexpr size_t kInboxMax = 4;              // messages
  static constexpr size_t kInboxBytesMax = 64 << 10;  // bytes, exceeded by one message

  // Any thread. Dropped after the call has ended.
  void Write(Response response) {
    absl::MutexLock lock(&mutex_);
    if (gone_ || final_ != nullptr) return;
    if (outbox_.bytes() > kOutboxMax) {
      gone_ = true;
      context_->TryCancel();
      return;
    }
    outbox_.Add(std::move(response));
    if (!writing_) StartNext();
  }

  // Ends the call after what is queued was written. Any thread; later calls do nothing.
  void Finish(absl::Status status) {
    absl::MutexLock lock(&mutex_);
    if (final_ != nullptr) return;
    final_ = std::make_unique<grpc::Status>(ToGrpc(status));
    if (!writing_) Reactor::Finish(*final_);
  }

  // ServeBidi() below.
  static Reactor* Serve(grpc::CallbackServerContext* context, boost::asio::any_io_executor executor, Open open) {
    const std::shared_ptr<BidiSession> self(new BidiSession(context));
    self->self_ = self;
    self->SetExecutor(executor);
    self->StartSendInitialMetadata();
    boost::asio::post(executor, [self, open = std::move(open)] {
      self->callbacks_ = open(self);
      absl::MutexLock lock(&self->mutex_);
      self->ReadNext();
    });
    return self.get();
  }

  // ServeBidiRouted() below.
  static Reactor* ServeRouted(grpc::CallbackServerContext* context, Route route, Open open) {
    const std::shared_ptr<BidiSession> self(new BidiSession(context));
    self->self_ = self;
    self->first_ = std::make_unique<First>(First{std::move(route), std::move(open)});
    self->StartSendInitialMetadata();
    absl::MutexLock lock(&self->mutex_);
    self->ReadNext();
    return self.get();
  }

 private:
  struct First {
    Route route;
    Open open;
  };

  explicit BidiSession(grpc::CallbackServerContext* context) : context_(context) {}

  void SetExecutor(boost::asio::any_io_executor executor) {
    absl::MutexLock lock(&mutex_);
    executor_ = std::move(executor);
  }

  // Runs `work` where the callbacks run; drops it while that is not known.
  template <typename Work>
  void Post(Work work) {
    std::optional<boost::asio::any_io_executor> executor;
    {
      absl::MutexLock lock(&mutex_);
      executor = executor_;
    }
    if (executor) boost::asio::post(*executor, std::move(work));
  }

  bool Finished() const {
    absl::MutexLock lock(&mutex_);
    return final_ != nullptr;
  }

  void StartNext() ABSL_EXCLUSIVE_LOCKS_REQUIRED(mutex_) {
    writing_ = true;
    this->StartWrite(&outbox_.front());
  }

  // Under the lock, so that no read begins after Finish(): the call may be freed then.
  void ReadNext() ABSL_EXCLUSIVE_LOCKS_REQUIRED(mutex_) {
    if (reading_ || over_ || final_ != nullptr || inbox_.size() >= kInboxMax || inbox_bytes_ > kInboxBytesMax) return;
    reading_ = true;
    this->StartRead(&incoming_);
  }

  void OnReadDone(bool ok) override {
    if (const std::unique_ptr<First> first = std::move(first_)) {
      if (!ok) {
        // Nobody has heard of this stream yet.
        Finish(absl::OkStatus());
        return;
      }
      const boost::asio::any_io_executor executor = first->route(incoming_);
      // In one step, so that a cancellation does not come before the opening.
      absl::MutexLock lock(&mutex_);
      executor_ = executor;
      boost::asio::post(executor, [self = this->shared_from_this(), open = std::move(first->open)] {
        self->callbacks_ = open(self);
      });
      Take(ok);
      return;
    }
    absl::MutexLock lock(&mutex_);
    Take(ok);
  }

  // What was read, or that there is no more.
  void Take(bool ok) ABSL_EXCLUSIVE_LOCKS_REQUIRED(mutex_) {
    reading_ = false;
    if (ok) {
      inbox_bytes_ += incoming_.ByteSizeLong();
      inbox_.push_back(std::move(incoming_));
      ReadNext();
    } else {
      over_ = true;
    }
    Wake();
  }

  // Lets the executor look at the inbox.
  void Wake() ABSL_EXCLUSIVE_LOCKS_REQUIRED(mutex_) {
    if (woken_ || !executor_) return;
    woken_ = true;
    boost::asio::post(*executor_, [self = this->shared_from_this()] { self->Deliver(); });
  }

  void OnWriteDone(bool ok) override {
    typename Outbox<Response>::Removed written;  // freed outside of the lock
    absl::MutexLock lock(&mutex_);
    writing_ = false;
    written = outbox_.Sent(ok);
    if (!ok) gone_ = true;
    if (!outbox_.empty())
      StartNext();
    else if (final_ != nullptr)
      Reactor::Finish(*final_);
  }

  void OnCancel() override {
    absl::MutexLock lock(&mutex_);
    gone_ = over_ = true;
    Wake();
  }

  void OnDone() override {
    // What the callbacks hold often holds this session: the circle is cut where they run, or when nothing runs there
    // any more.
    Post([cut = CallbacksCut(std::move(self_))] {});
  }

  // Drops the callbacks of a session at its own end.
  class CallbacksCut {
   public:
    explicit CallbacksCut(std::shared_ptr<BidiSession> session) : session_(std::move(session)) {}
    CallbacksCut(CallbacksCut&&) noexcept = default;
    CallbacksCut& operator=(CallbacksCut&&) = delete;
    ~CallbacksCut() {
      if (session_ != nullptr) session_->callbacks_ = Callbacks();
    }

   private:
    std::shared_ptr<BidiSession> session_;
  };

  // On the executor: what has come until now, so that others have their turn before what comes meanwhile.
  void Deliver() {
    std::vector<Request> messages;
    bool over = false;
    {
      absl::MutexLock lock(&mutex_);
      woken_ = false;
      over = over_;
      messages.swap(inbox_);
      inbox_bytes_ = 0;
      ReadNext();
    }
    for (Request& message : messages) {
      if (Finished() || ended_) return;
      callbacks_.on_message(std::move(message));
    }
    if (over) End();
  }

  // On the executor.
  void End() {
    bool half_closed = false;
    {
      absl::MutexLock lock(&mutex_);
      if (final_ != nullptr || ended_) return;
      ended_ = true;
      half_closed = !gone_ && !context_->IsCancelled();
    }
    callbacks_.on_end(half_closed);
  }

  grpc::CallbackServerContext* const context_;  // not used after Finish()
  std::shared_ptr<BidiSession> self_;           // until OnDone()
  std::unique_ptr<First> first_;                // of a routed session, until its first message
  Callbacks callbacks_;                         // used on the executor only
  Request incoming_;                            // used by the read under way and its end
  bool ended_ = false;                          // used on the executor only
  mutable absl::Mutex mutex_;
  std::vector<Request> inbox_ ABSL_GUARDED_BY(mutex_);
  size_t inbox_bytes_ ABSL_GUARDED_BY(mutex_) = 0;
  bool reading_ ABSL_GUARDED_BY(mutex_) = false;
  bool over_ ABSL_GUARDED_BY(mutex_) = false;   // no more messages come
  bool woken_ ABSL_GUARDED_BY(mutex_) = false;  // the executor will look at the inbox
  std::optional<boost::asio::any_io_executor> executor_ ABSL_GUARDED_BY(mutex_);
  bool writing_ ABSL_GUARDED_BY(mutex_) = false;
  bool gone_ ABSL_GUARDED_BY(mutex_) = false;
  Outbox<Response> outbox_ ABSL_GUARDED_BY(mutex_);
  std::unique_ptr<grpc::Status> final_ ABSL_GUARDED_BY(mutex_);
};

// Sends initial metadata at once, and reads one message after another. `open(session)` is called on `executor` before
// anything else and returns the callbacks. The session lives until the call is over and nobody holds it. Whoever serves
// must call Finish(), also after on_end: until then the call is open.
template <typename Request, typename Response>
grpc::ServerBidiReactor<Request, Response>* ServeBidi(
    grpc::CallbackServerContext* context, boost::asio::any_io_executor executor,
    std::function<typename BidiSession<Request, Response>::Callbacks(std::shared_ptr<BidiSession<Request, Response>>)>
        open) {
  return BidiSession<Request, Response>::Serve(context, std::move(executor), std::move(open));
}

// The same for a server whose executor follows from the first message (a task's shard), so that a message changes
// threads once. `route` runs on a thread of gRPC and must be quick; then `open` and on_message follow on the executor
// that it has named. A stream that ends without a message is answered with OK, and nobody is asked.
template <typename Request, typename Response>
grpc::ServerBidiReactor<Request, Response>* ServeBidiRouted(
    grpc::CallbackServerContext* context, std::function<boost::asio::any_io_executor(const Request&)> route,
    std::function<typename BidiSession<Request, Response>::Callbacks(std::shared_ptr<BidiSession<Request, Response>>)>
        open) {
  return BidiSession<Request, Response>::ServeRouted(context, std::move(route), std::move(open));
}

}  // namespace dragonfly::rpc
