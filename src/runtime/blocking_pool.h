// SPDX-License-Identifier: Apache-2.0
// Threads for work that blocks: file system calls that may take long, SQL, large hashes.
#pragma once

#include <boost/asio/awaitable.hpp>
#include <cstddef>
#include <functional>
#include <memory>
#include <optional>
#include <utility>

#include "absl/status/statusor.h"

namespace dragonfly::runtime {

class BlockingPool {
 public:
  // `threads` workers and at most `queue_limit` jobs that wait for one.
  BlockingPool(size_t threads, size_t queue_limit);
  // Waits for the running jobs; queued ones run too.
  ~BlockingPool();
  BlockingPool(const BlockingPool&) = delete;
  BlockingPool& operator=(const BlockingPool&) = delete;

  // Runs `job` on a worker and resumes on the caller's executor. Errors: RESOURCE_EXHAUSTED when the queue is full.
  // A job cannot be cancelled: when the caller is, the await still lasts until the job has ended, so that references
  // captured by the job stay good.
  boost::asio::awaitable<absl::Status> Run(std::function<absl::Status()> job);

  // Runs `job` on a worker and waits for nothing; false when the queue is full. The job owns what it uses.
  bool Post(std::function<void()> job);

  template <typename T>
  boost::asio::awaitable<absl::StatusOr<T>> Run(std::function<absl::StatusOr<T>()> job) {
    std::optional<absl::StatusOr<T>> result;
    std::function<absl::Status()> wrapped = [&result, &job] {
      result.emplace(job());
      return absl::OkStatus();
    };
    const absl::Status queued = co_await Run(std::move(wrapped));
    if (!queued.ok()) co_return queued;
    co_return *std::move(result);
  }

 private:
  struct State;
  std::unique_ptr<State> state_;
};

}  // namespace dragonfly::runtime
