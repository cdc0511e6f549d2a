// SPDX-License-Identifier: Apache-2.0
// Owns background coroutines: nothing runs that nobody waits for.
#pragma once

#include <boost/asio/any_io_executor.hpp>
#include <boost/asio/awaitable.hpp>
#include <cstddef>
#include <memory>

namespace dragonfly::runtime {

// A gate around coroutines of one executor.
//
// Thread rule: Spawn() and Cancel() may be called from any thread; the coroutines run on the executor, which must be
// single-threaded (an io_context of IoThreads, or a strand).
// Cancellation: Stop() cancels what runs. A coroutine that awaits then sees operation_aborted: as an error code, or as
// the boost::system::system_error that use_awaitable throws; the group swallows that exception when it ends the
// coroutine. Any other exception ends the process, since it is a defect.
class TaskGroup {
 public:
  explicit TaskGroup(boost::asio::any_io_executor executor);
  // Everything must have ended: checked, since a coroutine that outlives its group would use freed memory.
  ~TaskGroup();
  TaskGroup(const TaskGroup&) = delete;
  TaskGroup& operator=(const TaskGroup&) = delete;

  // Runs `work` on the executor, never inside this call. After Stop() or Drain() has begun the work is dropped without
  // having run.
  void Spawn(boost::asio::awaitable<void> work);

  // Cancels what runs, without waiting and without closing the gate.
  void Cancel();

  // Closes the gate and cancels what runs, both at once; what is returned completes when the last coroutine has ended.
  // May be awaited from any executor, also more than once. Joining is not cancellable; but a coroutine that has been
  // cancelled itself can only await it (or anything) after `co_await this_coro::throw_if_cancelled(false)`.
  boost::asio::awaitable<void> Stop();

  // The same without cancelling: what was spawned before runs to its end.
  boost::asio::awaitable<void> Drain();

  size_t size() const;

 private:
  struct State;
  std::shared_ptr<State> state_;
};

}  // namespace dragonfly::runtime
