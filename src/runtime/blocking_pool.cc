// SPDX-License-Identifier: Apache-2.0
#include "runtime/blocking_pool.h"

#include <pthread.h>

#include <algorithm>
#include <boost/asio/associated_executor.hpp>
#include <boost/asio/async_result.hpp>
#include <boost/asio/post.hpp>
#include <boost/asio/use_awaitable.hpp>
#include <deque>
#include <string>
#include <thread>
#include <vector>

#include "absl/base/thread_annotations.h"
#include "absl/functional/any_invocable.h"
#include "absl/status/status.h"
#include "absl/synchronization/mutex.h"

namespace dragonfly::runtime {

namespace asio = boost::asio;

struct BlockingPool::State {
  using Job = absl::AnyInvocable<void()>;

  explicit State(size_t limit) : admitted_max(limit) {}

  bool HasWorkOrEnds() const ABSL_EXCLUSIVE_LOCKS_REQUIRED(mutex) { return ending || !queue.empty(); }
  bool Admit();
  void Release();
  void Enqueue(Job job);
  void RunWorker();

  const size_t admitted_max;
  absl::Mutex mutex;
  size_t admitted ABSL_GUARDED_BY(mutex) = 0;  // jobs that wait or run
  bool ending ABSL_GUARDED_BY(mutex) = false;
  std::deque<Job> queue ABSL_GUARDED_BY(mutex);
  std::vector<std::thread> workers;
};

bool BlockingPool::State::Admit() {
  absl::MutexLock lock(&mutex);
  if (admitted == admitted_max) return false;
  ++admitted;
  return true;
}

void BlockingPool::State::Release() {
  absl::MutexLock lock(&mutex);
  --admitted;
}

void BlockingPool::State::Enqueue(Job job) {
  absl::MutexLock lock(&mutex);
  queue.push_back(std::move(job));
}

void BlockingPool::State::RunWorker() {
  for (;;) {
    Job job;
    {
      absl::MutexLock lock(&mutex);
      mutex.Await(absl::Condition(this, &State::HasWorkOrEnds));
      if (queue.empty()) return;
      job = std::move(queue.front());
      queue.pop_front();
    }
    job();
  }
}

BlockingPool::BlockingPool(size_t threads, size_t queue_limit)
    : state_(std::make_unique<State>(std::max<size_t>(threads, 1) + queue_limit)) {
  for (size_t i = 0; i < std::max<size_t>(threads, 1); ++i) {
    std::thread& worker = state_->workers.emplace_back([state = state_.get()] { state->RunWorker(); });
    ::pthread_setname_np(worker.native_handle(), ("blocking-" + std::to_string(i)).c_str());
  }
}

BlockingPool::~BlockingPool() {
  {
    absl::MutexLock lock(&state_->mutex);
    state_->ending = true;
  }
  for (std::thread& worker : state_->workers) worker.join();
}

asio::awaitable<absl::Status> BlockingPool::Run(std::function<absl::Status()> job) {
  State* const state = state_.get();
  if (!state->Admit()) co_return absl::ResourceExhaustedError("too many blocking jobs wait for a thread");

  // The job stays in this frame, which the handler keeps alive until it is invoked. No cancellation slot is taken: see
  // the header.
  auto initiate = [state, &job]<typename Handler>(Handler handler) {
    const auto executor = asio::get_associated_executor(handler);
    state->Enqueue([state, &job, executor, handler = std::move(handler)]() mutable {
      absl::Status status = job();
      state->Release();
      asio::post(executor, [handler = std::move(handler), status = std::move(status)]() mutable {
        std::move(handler)(std::move(status));
      });
    });
  };
  co_return co_await asio::async_initiate<const asio::use_awaitable_t<>, void(absl::Status)>(std::move(initiate),
                                                                                             asio::use_awaitable);
}

bool BlockingPool::Post(std::function<void()> job) {
  State* const state = state_.get();
  if (!state->Admit()) return false;
  state->Enqueue([state, job = std::move(job)]() mutable {
    job();
    job = nullptr;  // what it owns goes before its place is given away
    state->Release();
  });
  return true;
}

}  // namespace dragonfly::runtime
