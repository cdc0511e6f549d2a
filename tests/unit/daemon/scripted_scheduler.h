// SPDX-License-Identifier: Apache-2.0
// A scheduler.v2.Scheduler over real gRPC that does what a test says, and remembers what it was told.
#pragma once

#include <grpcpp/server_context.h>
#include <grpcpp/support/status.h>
#include <grpcpp/support/sync_stream.h>
#include <gtest/gtest.h>

#include <boost/asio/awaitable.hpp>
#include <boost/asio/co_spawn.hpp>
#include <boost/asio/io_context.hpp>
#include <boost/asio/use_future.hpp>
#include <chrono>
#include <functional>
#include <future>
#include <memory>
#include <string>
#include <utility>
#include <vector>

#include "absl/synchronization/mutex.h"
#include "absl/synchronization/notification.h"
#include "absl/time/time.h"
#include "base/text.h"
#include "runtime/clock.h"
#include "scheduler/v2/scheduler.grpc.pb.h"
#include "tests/support/played_service.h"

namespace dragonfly::daemon::test {

// Longest wait of a test for something that must happen.
inline constexpr auto kPatience = std::chrono::seconds(10);

inline TimePoint In(Clock::duration duration) { return Clock::now() + duration; }

// Runs `work` on `io` and returns its result; a test that would hang dies instead.
template <typename T>
T Await(boost::asio::io_context& io, boost::asio::awaitable<T> work) {
  std::future<T> result = boost::asio::co_spawn(io, std::move(work), boost::asio::use_future);
  if (result.wait_for(3 * kPatience) != std::future_status::ready) {
    ADD_FAILURE() << "a coroutine does not end";
    std::abort();
  }
  return result.get();
}

class ScriptedScheduler final : public ::dragonfly::testing::PlayedService<::scheduler::v2::Scheduler::Service> {
 public:
  using Request = ::scheduler::v2::AnnouncePeerRequest;
  using Response = ::scheduler::v2::AnnouncePeerResponse;
  using Stream = grpc::ServerReaderWriter<Response, Request>;
  // Plays one AnnouncePeer conversation; read with Read(), which remembers.
  using Script = std::function<grpc::Status(ScriptedScheduler&, grpc::ServerContext&, Stream&)>;

  explicit ScriptedScheduler(Script script = nullptr) : script_(std::move(script)) { Start(0); }
  ~ScriptedScheduler() override { Stop(); }

  bool Read(Stream& stream, Request* request) {
    if (!stream.Read(request)) return false;
    const absl::MutexLock lock(&mutex_);
    requests_.push_back(*request);
    return true;
  }
  std::vector<Request> requests() const {
    const absl::MutexLock lock(&mutex_);
    return requests_;
  }
  std::vector<::scheduler::v2::AnnounceHostRequest> announcements() const {
    const absl::MutexLock lock(&mutex_);
    return announcements_;
  }
  std::vector<std::string> deleted_hosts() const {
    const absl::MutexLock lock(&mutex_);
    return deleted_hosts_;
  }
  std::vector<std::string> deleted_tasks() const {
    const absl::MutexLock lock(&mutex_);
    return deleted_tasks_;
  }
  // DeleteHost is heard and not answered until it is released.
  void HoldDeletes() {
    const absl::MutexLock lock(&mutex_);
    hold_deletes_ = true;
  }
  void ReleaseDeletes() {
    const absl::MutexLock lock(&mutex_);
    hold_deletes_ = false;
  }
  void FailAnnouncements(grpc::Status status) {
    const absl::MutexLock lock(&mutex_);
    announce_status_ = std::move(status);
  }
  // Waits until `count` announcements were heard since the start; false after kPatience.
  bool WaitForAnnouncements(size_t count) const {
    const absl::MutexLock lock(&mutex_);
    const auto enough = [this, count]()
                            ABSL_EXCLUSIVE_LOCKS_REQUIRED(mutex_) { return announcements_.size() >= count; };
    return mutex_.AwaitWithTimeout(absl::Condition(&enough), absl::FromChrono(kPatience));
  }
  bool WaitForRequests(size_t count) const {
    const absl::MutexLock lock(&mutex_);
    const auto enough = [this, count]() ABSL_EXCLUSIVE_LOCKS_REQUIRED(mutex_) { return requests_.size() >= count; };
    return mutex_.AwaitWithTimeout(absl::Condition(&enough), absl::FromChrono(kPatience));
  }

  grpc::Status AnnouncePeer(grpc::ServerContext* context, Stream* stream) override {
    if (script_ != nullptr) return script_(*this, *context, *stream);
    Request request;
    while (Read(*stream, &request)) {
    }
    return grpc::Status::OK;
  }
  grpc::Status AnnounceHost(grpc::ServerContext*, const ::scheduler::v2::AnnounceHostRequest* request,
                            google::protobuf::Empty*) override {
    const absl::MutexLock lock(&mutex_);
    announcements_.push_back(*request);
    return announce_status_;
  }
  grpc::Status DeleteHost(grpc::ServerContext*, const ::scheduler::v2::DeleteHostRequest* request,
                          google::protobuf::Empty*) override {
    const absl::MutexLock lock(&mutex_);
    deleted_hosts_.push_back(request->host_id());
    const auto free = [this]() ABSL_EXCLUSIVE_LOCKS_REQUIRED(mutex_) { return !hold_deletes_; };
    mutex_.AwaitWithTimeout(absl::Condition(&free), absl::FromChrono(kPatience));
    return grpc::Status::OK;
  }
  grpc::Status DeleteTask(grpc::ServerContext*, const ::scheduler::v2::DeleteTaskRequest* request,
                          google::protobuf::Empty*) override {
    const absl::MutexLock lock(&mutex_);
    deleted_tasks_.push_back(StrCat(request->host_id(), "/", request->task_id()));
    return grpc::Status::OK;
  }
  grpc::Status StatTask(grpc::ServerContext*, const ::scheduler::v2::StatTaskRequest* request,
                        common::v2::Task* task) override {
    task->set_id(request->task_id());
    task->set_state("Succeeded");
    return grpc::Status::OK;
  }

 private:
  const Script script_;
  mutable absl::Mutex mutex_;
  std::vector<Request> requests_ ABSL_GUARDED_BY(mutex_);
  std::vector<::scheduler::v2::AnnounceHostRequest> announcements_ ABSL_GUARDED_BY(mutex_);
  std::vector<std::string> deleted_hosts_ ABSL_GUARDED_BY(mutex_);
  std::vector<std::string> deleted_tasks_ ABSL_GUARDED_BY(mutex_);
  grpc::Status announce_status_ ABSL_GUARDED_BY(mutex_);
  bool hold_deletes_ ABSL_GUARDED_BY(mutex_) = false;
};

}  // namespace dragonfly::daemon::test
