// SPDX-License-Identifier: Apache-2.0
// Takes jobs from queues and does them.
#pragma once

#include <boost/asio/awaitable.hpp>
#include <boost/asio/io_context.hpp>
#include <functional>
#include <map>
#include <memory>
#include <string>
#include <vector>

#include "absl/status/statusor.h"
#include "jobs/broker.h"
#include "runtime/task_group.h"

namespace dragonfly::jobs {

// Does one job: takes its argument and gives its result, both JSON. Cancellation must end it soon.
using Handler = std::function<boost::asio::awaitable<absl::StatusOr<std::string>>(std::string argument)>;

struct WorkerOptions {
  WorkerOptions() = default;
  std::string name;  // of all workers of these queues this one's alone, the same after a restart
  std::vector<std::string> queues;
  std::map<std::string, Handler> handlers;  // by the name of the job
  size_t at_once = 1000;
};

// A job of a name that is not known fails, and says so: the original puts it back, and finds it again at once.
// A handler that fails is tried again as often as the message says, after 1, 2, 4 ... 60 s.
class Worker {
 public:
  // `broker` must outlive it. Everything runs on `io`.
  Worker(boost::asio::io_context& io, Broker& broker, WorkerOptions options);
  // Stop() must have completed when Start() was called.
  ~Worker();

  void Start();
  // Takes nothing more and ends what runs, which is done again after the next start.
  boost::asio::awaitable<void> Stop();
  // OK when the broker could be asked at the last time.
  absl::Status state() const;

 private:
  struct State;
  std::unique_ptr<State> state_;
};

}  // namespace dragonfly::jobs
