// SPDX-License-Identifier: Apache-2.0
// A broker for one process, in memory.
#pragma once

#include <cstdint>
#include <deque>
#include <map>
#include <memory>
#include <string>
#include <vector>

#include "absl/base/thread_annotations.h"
#include "absl/synchronization/mutex.h"
#include "jobs/broker.h"
#include "runtime/signal.h"

namespace dragonfly::jobs {

// Any thread. Bounds: kWaitingMax messages in all queues together (RESOURCE_EXHAUSTED beyond); groups that have ended
// are forgotten after a day, and the oldest of them when there are more than kGroupsMax.
class EmbeddedBroker final : public Broker {
 public:
  static constexpr size_t kWaitingMax = 100'000;
  static constexpr size_t kGroupsMax = 10'000;

  EmbeddedBroker() = default;
  // The names of queues in which something waits; for who serves queues as they come.
  std::vector<std::string> WaitingQueues() const;
  // Notified with every message that comes.
  const runtime::Signal& arrivals() const { return arrived_; }

  boost::asio::awaitable<absl::Status> Send(std::string group_uuid, std::vector<Message> messages) override;
  boost::asio::awaitable<absl::StatusOr<std::vector<TaskState>>> States(std::string group_uuid) override;
  boost::asio::awaitable<absl::StatusOr<bool>> IsSent(std::string group_uuid) override;
  boost::asio::awaitable<absl::StatusOr<std::vector<TaskState>>> Await(std::string group_uuid,
                                                                       TimePoint deadline) override;
  boost::asio::awaitable<absl::Status> Cancel(std::string group_uuid, std::string reason) override;
  boost::asio::awaitable<absl::Status> Restore(std::string queue, std::string worker) override;
  boost::asio::awaitable<absl::StatusOr<std::optional<Taken>>> Take(std::string queue, std::string worker,
                                                                    TimePoint deadline) override;
  boost::asio::awaitable<absl::StatusOr<bool>> Claim(const Message& message) override;
  boost::asio::awaitable<absl::Status> Report(const Message& message, State state, std::optional<std::string> result,
                                              std::string error) override;
  boost::asio::awaitable<absl::Status> Finish(const Taken& taken, std::string worker) override;
  boost::asio::awaitable<absl::StatusOr<std::optional<std::string>>> TakeCancelled(std::string queue,
                                                                                   TimePoint deadline) override;

 private:
  struct KnownGroup {
    std::vector<std::string> tasks;
    absl::Time created_at;
    runtime::Signal changed;
  };
  struct KnownTask {
    TaskState state;
    std::string queue;
    std::string group;
  };

  absl::Status Accept(const std::string& group_uuid, std::vector<Message> messages);
  absl::StatusOr<std::vector<TaskState>> Read(const std::string& group_uuid) const;
  void Forget(absl::Time now) ABSL_EXCLUSIVE_LOCKS_REQUIRED(mutex_);

  mutable absl::Mutex mutex_;
  runtime::Signal arrived_;
  runtime::Signal cancelled_signal_;
  std::map<std::string, KnownGroup> groups_ ABSL_GUARDED_BY(mutex_);
  std::deque<std::string> order_ ABSL_GUARDED_BY(mutex_);  // of groups, the oldest first
  std::map<std::string, KnownTask> tasks_ ABSL_GUARDED_BY(mutex_);
  std::map<std::string, std::deque<Message>> queues_ ABSL_GUARDED_BY(mutex_);
  size_t waiting_ ABSL_GUARDED_BY(mutex_) = 0;
  // What workers have taken and not finished: (queue, worker).
  std::map<std::pair<std::string, std::string>, std::vector<Message>> taken_ ABSL_GUARDED_BY(mutex_);
  std::map<std::string, std::deque<std::string>> cancelled_ ABSL_GUARDED_BY(mutex_);  // by queue
};

}  // namespace dragonfly::jobs
