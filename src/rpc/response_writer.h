// SPDX-License-Identifier: Apache-2.0
// gRPC server streams, answered from a coroutine. Only .cc files include this. Lifetimes: see server_call.h.
#pragma once

#include <grpcpp/server_context.h>
#include <grpcpp/support/server_callback.h>

#include <boost/asio/awaitable.hpp>
#include <cstddef>
#include <cstdint>
#include <functional>
#include <memory>
#include <optional>
#include <utility>

#include "absl/base/thread_annotations.h"
#include "absl/status/status.h"
#include "absl/synchronization/mutex.h"
#include "rpc/outbox.h"
#include "rpc/server_call.h"
#include "rpc/status.h"
#include "rpc/trace_metadata.h"
#include "runtime/signal.h"
#include "runtime/task_group.h"

namespace dragonfly::rpc {
namespace internal {

template <typename Response>
class WriteReactor;

}  // namespace internal

// Server side of a server stream.
template <typename Response>
class ResponseWriter {
 public:
  static constexpr size_t kOutboxMax = 8 << 20;  // bytes

  // Made by ServeStream().
  ResponseWriter(grpc::ServerWriteReactor<Response>* reactor, telemetry::SpanContext trace)
      : reactor_(reactor), trace_(std::move(trace)) {}

  // Queues a message and suspends while more than `kOutboxMax` bytes wait for a slow reader. Errors: CANCELLED when the
  // caller has gone.
  boost::asio::awaitable<absl::Status> Write(Response response) {
    if (!Queue(std::move(response))) co_return Gone();
    for (;;) {
      const uint64_t seen = changed_.version();
      const State state = Look();
      if (state == State::kGone) co_return Gone();
      if (state == State::kRoom) co_return absl::OkStatus();
      co_await changed_.Wait(seen);
    }
  }

  // The span of the call, else what its caller sent; see TraceOf().
  const telemetry::SpanContext& trace() const { return trace_; }

  // With Headers::kByHandler: sends the initial metadata, with what was added to the call's context before. A stream
  // that never does sends them with its first message or its end. Does nothing when they have been sent.
  void SendHeaders() {
    absl::MutexLock lock(&mutex_);
    if (gone_ || std::exchange(headers_sent_, true)) return;
    reactor_->StartSendInitialMetadata();
  }

  // True after the caller has gone or the call was cancelled.
  bool cancelled() const {
    absl::MutexLock lock(&mutex_);
    return gone_;
  }

 private:
  friend class internal::WriteReactor<Response>;
  enum class State { kGone, kFull, kRoom };

  static absl::Status Gone() { return absl::CancelledError("the caller has gone"); }

  State Look() const {
    absl::MutexLock lock(&mutex_);
    if (gone_) return State::kGone;
    return outbox_.bytes() > kOutboxMax ? State::kFull : State::kRoom;
  }

  bool Queue(Response response) {
    absl::MutexLock lock(&mutex_);
    if (gone_) return false;
    outbox_.Add(std::move(response));
    if (!writing_) StartNext();
    return true;
  }

  void StartNext() ABSL_EXCLUSIVE_LOCKS_REQUIRED(mutex_) {
    writing_ = true;
    headers_sent_ = true;
    grpc::WriteOptions options;
    // What has another message behind it goes out with that one.
    if (outbox_.size() > 1) options.set_buffer_hint();
    reactor_->StartWrite(&outbox_.front(), options);
  }

  void OnWriteDone(bool ok) {
    typename Outbox<Response>::Removed written;  // freed outside of the lock
    {
      absl::MutexLock lock(&mutex_);
      writing_ = false;
      written = outbox_.Sent(ok);
      if (!ok) gone_ = true;
      if (!outbox_.empty())
        StartNext();
      else if (final_)
        reactor_->Finish(*final_);
    }
    changed_.Notify();
  }

  void OnCancel() {
    {
      absl::MutexLock lock(&mutex_);
      gone_ = true;
    }
    changed_.Notify();
  }

  // Ends the call after what is queued. The reactor may be freed before this returns.
  void Finish(const absl::Status& status) {
    absl::MutexLock lock(&mutex_);
    final_ = ToGrpc(status);
    gone_ = true;  // for whoever has kept the writer
    if (!writing_) reactor_->Finish(*final_);
  }

  grpc::ServerWriteReactor<Response>* const reactor_;  // not used after its Finish()
  const telemetry::SpanContext trace_;
  runtime::Signal changed_;
  mutable absl::Mutex mutex_;
  Outbox<Response> outbox_ ABSL_GUARDED_BY(mutex_);
  bool headers_sent_ ABSL_GUARDED_BY(mutex_) = false;
  bool writing_ ABSL_GUARDED_BY(mutex_) = false;
  bool gone_ ABSL_GUARDED_BY(mutex_) = false;
  std::optional<grpc::Status> final_ ABSL_GUARDED_BY(mutex_);
};

namespace internal {

template <typename Response>
class WriteReactor final : public grpc::ServerWriteReactor<Response> {
 public:
  using Handle = std::function<boost::asio::awaitable<absl::Status>(std::shared_ptr<ResponseWriter<Response>>)>;

  WriteReactor(Handle handle, bool keep_running, telemetry::SpanContext trace)
      : writer_(std::make_shared<ResponseWriter<Response>>(this, std::move(trace))),
        handler_(std::make_shared<Handler>([handle = std::move(handle), writer = writer_] { return handle(writer); },
                                           [writer = writer_](const absl::Status& status) { writer->Finish(status); })),
        keep_running_(keep_running) {}

  void Start(runtime::TaskGroup& group, bool send_headers) {
    if (send_headers) writer_->SendHeaders();
    handler_->Start(group);
  }

  void OnWriteDone(bool ok) override {
    // The write that ends the call may free this reactor.
    const std::shared_ptr<ResponseWriter<Response>> writer = writer_;
    writer->OnWriteDone(ok);
  }
  void OnCancel() override {
    writer_->OnCancel();
    if (!keep_running_) handler_->Cancel();
  }
  void OnDone() override { delete this; }

 private:
  const std::shared_ptr<ResponseWriter<Response>> writer_;
  const std::shared_ptr<Handler> handler_;
  const bool keep_running_;
};

}  // namespace internal

// When a stream's initial metadata is sent: clients may wait for it, and give up when it does not come.
enum class Headers { kAtOnce, kByHandler };

// `handle(writer)` runs in `group`; what it returns ends the call. It is cancelled
// when the caller goes away, unless `keep_running` is set: then it runs on and its writes fail.
template <typename Response>
grpc::ServerWriteReactor<Response>* ServeStream(
    grpc::CallbackServerContext* context, runtime::TaskGroup& group,
    std::function<boost::asio::awaitable<absl::Status>(std::shared_ptr<ResponseWriter<Response>>)> handle,
    bool keep_running = false, Headers headers = Headers::kAtOnce) {
  auto* reactor = new internal::WriteReactor<Response>(std::move(handle), keep_running, TraceOf(*context));
  reactor->Start(group, headers == Headers::kAtOnce);
  return reactor;
}

}  // namespace dragonfly::rpc
