// SPDX-License-Identifier: Apache-2.0
// Where jobs wait for who does them: in Redis, as the original has it, or in this process. See docs/jobs.md.
#pragma once

#include <boost/asio/awaitable.hpp>
#include <optional>
#include <string>
#include <vector>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "jobs/message.h"
#include "runtime/clock.h"

namespace dragonfly::jobs {

// A message that somebody has taken, and must give back by Finish().
struct Taken {
  Taken() = default;
  Message message;
  std::string raw;  // as it came
};

// Thread rule: coroutines run on any executor of one thread, and resume there. Errors of all: those of the store,
// UNAVAILABLE above all. What a job asks for, and what came of it, is kept for a day.
class Broker {
 public:
  virtual ~Broker() = default;

  // -- Who wants work done.
  // Writes the group down, each message as PENDING, and then lets them go to their queues; queue, name and argument of
  // each must be set, uuid and group are set here. A group that was sent before, even in part, gets there once more
  // only with what has not begun: nothing is done twice. Errors: ALREADY_EXISTS when it was sent as a whole.
  virtual boost::asio::awaitable<absl::Status> Send(std::string group_uuid, std::vector<Message> messages) = 0;
  // In the order in which they were sent. Errors: NOT_FOUND for a group that is not known (any more).
  virtual boost::asio::awaitable<absl::StatusOr<std::vector<TaskState>>> States(std::string group_uuid) = 0;
  // Whether all of it has got to its queues. Errors: NOT_FOUND.
  virtual boost::asio::awaitable<absl::StatusOr<bool>> IsSent(std::string group_uuid) = 0;
  // The states, as soon as all have ended, or as they are at the deadline.
  virtual boost::asio::awaitable<absl::StatusOr<std::vector<TaskState>>> Await(std::string group_uuid,
                                                                               TimePoint deadline) = 0;
  // What has not ended becomes FAILURE with `reason`. Who works on it is told so. Errors: NOT_FOUND.
  virtual boost::asio::awaitable<absl::Status> Cancel(std::string group_uuid, std::string reason) = 0;

  // -- Who does it.
  // What `worker` had taken from the queue when it ended without finishing it goes back there, at the front.
  virtual boost::asio::awaitable<absl::Status> Restore(std::string queue, std::string worker) = 0;
  // The next message, or none when there is none until the deadline. A message that cannot be read is dropped with a
  // line in the log.
  virtual boost::asio::awaitable<absl::StatusOr<std::optional<Taken>>> Take(std::string queue, std::string worker,
                                                                            TimePoint deadline) = 0;
  // RECEIVED, unless somebody else has begun with it, or it was cancelled: false then.
  virtual boost::asio::awaitable<absl::StatusOr<bool>> Claim(const Message& message) = 0;
  // STARTED, RETRY, SUCCESS, FAILURE: the latter two tell who waits. A task that has ended stays as it is.
  virtual boost::asio::awaitable<absl::Status> Report(const Message& message, State state,
                                                      std::optional<std::string> result, std::string error) = 0;
  // The worker has done with it.
  virtual boost::asio::awaitable<absl::Status> Finish(const Taken& taken, std::string worker) = 0;
  // The uuid of a task of the queue that was cancelled, or none until the deadline. Each is told once.
  virtual boost::asio::awaitable<absl::StatusOr<std::optional<std::string>>> TakeCancelled(std::string queue,
                                                                                           TimePoint deadline) = 0;
};

}  // namespace dragonfly::jobs
