// SPDX-License-Identifier: Apache-2.0
#include "runtime/task_group.h"

#include <boost/asio/bind_cancellation_slot.hpp>
#include <boost/asio/cancellation_signal.hpp>
#include <boost/asio/co_spawn.hpp>
#include <boost/asio/error.hpp>
#include <boost/asio/post.hpp>
#include <boost/asio/this_coro.hpp>
#include <boost/asio/use_awaitable.hpp>
#include <boost/system/system_error.hpp>
#include <cstdio>
#include <cstdlib>
#include <exception>
#include <list>
#include <utility>
#include <vector>

#include "absl/base/thread_annotations.h"
#include "absl/synchronization/mutex.h"
#include "runtime/signal.h"

namespace dragonfly::runtime {

namespace asio = boost::asio;

namespace {

// One coroutine of the group. The cancellation signal belongs to the executor: its slot is filled when the coroutine
// starts there, so every emit must happen there too.
struct Task {
  asio::cancellation_signal cancellation;
  std::list<std::shared_ptr<Task>>::iterator position;
};

// Rethrows anything but a cancellation, out of the io_context's run(): that ends the process.
void SwallowCancellation(const std::exception_ptr& failure) {
  if (!failure) return;
  try {
    std::rethrow_exception(failure);
  } catch (const boost::system::system_error& error) {
    if (error.code() != asio::error::operation_aborted) throw;
  }
}

}  // namespace

struct TaskGroup::State : std::enable_shared_from_this<State> {
  explicit State(asio::any_io_executor e) : executor(std::move(e)) {}

  void Spawn(asio::awaitable<void> work);
  void Start(const std::shared_ptr<Task>& task, asio::awaitable<void> work);
  void Finish(const Task& task);
  void Close(bool stop);
  void Cancel();
  static asio::awaitable<void> WhenEmpty(std::shared_ptr<State> state);
  static asio::awaitable<void> Join(std::shared_ptr<State> state);

  const asio::any_io_executor executor;
  Signal finished;
  mutable absl::Mutex mutex;
  bool closed ABSL_GUARDED_BY(mutex) = false;    // Spawn() refuses
  bool stopping ABSL_GUARDED_BY(mutex) = false;  // what was spawned and has not begun is dropped
  std::list<std::shared_ptr<Task>> tasks ABSL_GUARDED_BY(mutex);
};

void TaskGroup::State::Spawn(asio::awaitable<void> work) {
  auto task = std::make_shared<Task>();
  {
    absl::MutexLock lock(&mutex);
    if (closed) return;
    task->position = tasks.insert(tasks.end(), task);
  }
  asio::post(executor, [self = shared_from_this(), task = std::move(task), work = std::move(work)]() mutable {
    self->Start(task, std::move(work));
  });
}

void TaskGroup::State::Start(const std::shared_ptr<Task>& task, asio::awaitable<void> work) {
  bool dropped = false;
  {
    absl::MutexLock lock(&mutex);
    dropped = stopping;
  }
  if (dropped) {
    // What the coroutine would have used may go as soon as the group is empty: its frame must go first.
    {
      const asio::awaitable<void> unused = std::move(work);
    }
    Finish(*task);
    return;
  }
  auto done = [self = shared_from_this(), task](const std::exception_ptr& failure) {
    self->Finish(*task);
    SwallowCancellation(failure);
  };
  asio::co_spawn(executor, std::move(work), asio::bind_cancellation_slot(task->cancellation.slot(), std::move(done)));
}

void TaskGroup::State::Finish(const Task& task) {
  {
    absl::MutexLock lock(&mutex);
    tasks.erase(task.position);
    if (!tasks.empty()) return;
  }
  finished.Notify();
}

void TaskGroup::State::Close(bool stop) {
  absl::MutexLock lock(&mutex);
  closed = true;
  stopping = stopping || stop;
}

void TaskGroup::State::Cancel() {
  asio::post(executor, [self = shared_from_this()] {
    std::vector<std::shared_ptr<Task>> running;
    {
      absl::MutexLock lock(&self->mutex);
      running.assign(self->tasks.begin(), self->tasks.end());
    }
    for (const std::shared_ptr<Task>& task : running) task->cancellation.emit(asio::cancellation_type::terminal);
  });
}

asio::awaitable<void> TaskGroup::State::WhenEmpty(std::shared_ptr<State> state) {
  for (;;) {
    const uint64_t seen = state->finished.version();
    {
      absl::MutexLock lock(&state->mutex);
      if (state->tasks.empty()) co_return;
    }
    co_await state->finished.Wait(seen);
  }
}

// Joining is not cancellable: a caller that is cancelled must still not destroy what the coroutines use. So the wait
// runs as a coroutine of its own, out of reach of the caller's cancellation slot.
asio::awaitable<void> TaskGroup::State::Join(std::shared_ptr<State> state) {
  const bool throws = co_await asio::this_coro::throw_if_cancelled();
  co_await asio::this_coro::throw_if_cancelled(false);
  const asio::any_io_executor here = co_await asio::this_coro::executor;
  co_await asio::co_spawn(here, WhenEmpty(std::move(state)),
                          asio::bind_cancellation_slot(asio::cancellation_slot(), asio::use_awaitable));
  co_await asio::this_coro::throw_if_cancelled(throws);
}

TaskGroup::TaskGroup(asio::any_io_executor executor) : state_(std::make_shared<State>(std::move(executor))) {}

TaskGroup::~TaskGroup() {
  if (const size_t running = size(); running != 0) {
    std::fprintf(stderr, "TaskGroup destroyed while %zu of its coroutines run: Stop() was not awaited\n", running);
    std::abort();
  }
}

void TaskGroup::Spawn(asio::awaitable<void> work) { state_->Spawn(std::move(work)); }

void TaskGroup::Cancel() { state_->Cancel(); }

asio::awaitable<void> TaskGroup::Stop() {
  state_->Close(/*stop=*/true);
  state_->Cancel();
  return State::Join(state_);
}

asio::awaitable<void> TaskGroup::Drain() {
  state_->Close(/*stop=*/false);
  return State::Join(state_);
}

size_t TaskGroup::size() const {
  absl::MutexLock lock(&state_->mutex);
  return state_->tasks.size();
}

}  // namespace dragonfly::runtime
