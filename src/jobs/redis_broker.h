// SPDX-License-Identifier: Apache-2.0
// The broker of the original: lists and texts in Redis, as dragonflyoss/machinery v1.10.14 lays them out (v1/brokers/
// redis, v1/backends/redis), so that managers and schedulers of both work together. docs/jobs.md lists the keys.
#pragma once

#include <boost/asio/io_context.hpp>
#include <memory>

#include "absl/status/statusor.h"
#include "jobs/broker.h"
#include "redis/options.h"

namespace dragonfly::jobs {

struct RedisBrokerOptions {
  RedisBrokerOptions() = default;
  redis::Options redis;    // its db is not used
  int64_t broker_db = 1;   // of the queues
  int64_t backend_db = 2;  // of groups and states; with several addresses both are 0, as the original has it then
  size_t threads = 4;      // for commands that do not wait for others
  size_t waiting = 4;      // calls of Take() and TakeCancelled() at one time, each with a thread and a connection
};

// What it adds to the original's layout: what a worker has taken stands in a list of the worker's own until it is
// finished; a manager is told of each end by a list of its own; cancellations reach workers by a list. Who does not
// know these lists does without: the state of a group that an original scheduler works on is looked at more and more
// rarely, between 0.1 and 5 s.
//
// Thread rule: see Broker. The object must be destroyed on a thread that may block, when nothing awaits any more.
class RedisBroker final : public Broker {
 public:
  // Connects at the first command. Errors: those of redis::Client::Make().
  static absl::StatusOr<std::unique_ptr<RedisBroker>> Make(const RedisBrokerOptions& options);
  ~RedisBroker() override;

  // Must run for as long as somebody awaits groups; it may be cancelled.
  boost::asio::awaitable<void> ListenForEnds();

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
  struct State;
  explicit RedisBroker(std::unique_ptr<State> state);
  std::unique_ptr<State> state_;
};

}  // namespace dragonfly::jobs
