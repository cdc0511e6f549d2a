// SPDX-License-Identifier: Apache-2.0
// The half of a stream that comes from the server: what server streams and bidirectional streams have in common.
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
#include <string>
#include <utility>

#include "absl/base/thread_annotations.h"
#include "absl/status/statusor.h"
#include "absl/synchronization/mutex.h"
#include "rpc/status.h"
#include "runtime/clock.h"
#include "runtime/signal.h"

namespace dragonfly::rpc::internal {

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

}  // namespace dragonfly::rpc::internal
