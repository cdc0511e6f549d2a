// SPDX-License-Identifier: Apache-2.0
// A dialogue.
// Included by rpc/client_call.h.
#pragma once

#include <grpcpp/support/client_callback.h>

#include <boost/asio/awaitable.hpp>
#include <cstddef>
#include <list>
#include <memory>
#include <optional>
#include <utility>

#include "absl/base/thread_annotations.h"
#include "absl/status/statusor.h"
#include "absl/synchronization/mutex.h"
#include "rpc/reading_reactor.h"
#include "runtime/clock.h"

namespace dragonfly::rpc {

namespace internal {

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

}  // namespace dragonfly::rpc
