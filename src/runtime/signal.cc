// SPDX-License-Identifier: Apache-2.0
#include "runtime/signal.h"

#include <boost/asio/dispatch.hpp>
#include <boost/asio/error.hpp>
#include <boost/asio/redirect_error.hpp>
#include <boost/asio/steady_timer.hpp>
#include <boost/asio/this_coro.hpp>
#include <boost/asio/use_awaitable.hpp>
#include <boost/system/system_error.hpp>
#include <list>
#include <utility>

#include "absl/base/thread_annotations.h"
#include "absl/synchronization/mutex.h"

namespace dragonfly::runtime {

namespace asio = boost::asio;

namespace {

#ifdef NDEBUG
// Debian's abseil is built with its check of the order of locks, which makes every absl::Mutex of the process take one
// global lock and remember every pair that was ever held together: with a hundred thousand tasks it is minutes of CPU.
// Debug builds keep it. It stands here because everything that has locks and threads links this file.
[[maybe_unused]] const bool kLockOrderUnchecked = [] {
  absl::SetMutexDeadlockDetectionMode(absl::OnDeadlockCycle::kIgnore);
  return true;
}();
#endif

// A suspended coroutine. Its timer carries the deadline, the cancellation slot and, when cancelled by Notify(), the
// wake-up; it is touched only on the waiter's executor. Shared, because a wake-up may be on its way when the deadline
// ends the wait.
struct Waiter {
  explicit Waiter(const asio::any_io_executor& executor, TimePoint deadline) : timer(executor, deadline) {}
  asio::steady_timer timer;
  bool notified = false;  // guarded by the mutex of the signal
};
using Waiters = std::list<std::shared_ptr<Waiter>>;

}  // namespace

struct Signal::State {
  mutable absl::Mutex mutex;
  uint64_t version ABSL_GUARDED_BY(mutex) = 0;
  Waiters waiters ABSL_GUARDED_BY(mutex);
};

Signal::Signal() : state_(std::make_shared<State>()) {}

uint64_t Signal::version() const {
  absl::MutexLock lock(&state_->mutex);
  return state_->version;
}

void Signal::Notify() {
  Waiters woken;
  {
    absl::MutexLock lock(&state_->mutex);
    ++state_->version;
    if (state_->waiters.empty()) return;
    woken.swap(state_->waiters);
    for (const std::shared_ptr<Waiter>& waiter : woken) waiter->notified = true;
  }
  for (std::shared_ptr<Waiter>& waiter : woken) {
    // Runs after async_wait() has begun: the waiter registers and suspends without leaving its executor.
    const asio::any_io_executor executor = waiter->timer.get_executor();
    asio::dispatch(executor, [waiter = std::move(waiter)] { waiter->timer.cancel(); });
  }
}

asio::awaitable<bool> Signal::Wait(uint64_t seen, TimePoint deadline) const {
  const std::shared_ptr<State> state = state_;
  if (deadline != kNoDeadline && deadline <= Clock::now()) {
    absl::MutexLock lock(&state->mutex);
    co_return state->version != seen;
  }

  const asio::any_io_executor executor = co_await asio::this_coro::executor;
  // Leaves the list on every way out, also when the frame is destroyed or the wait throws.
  struct Registration {
    State& state;
    std::shared_ptr<Waiter> waiter;
    Waiters::iterator position{};
    bool entered = false;

    bool Enter(uint64_t seen_version) {
      absl::MutexLock lock(&state.mutex);
      if (state.version != seen_version) return false;
      position = state.waiters.insert(state.waiters.end(), waiter);
      entered = true;
      return true;
    }
    ~Registration() {
      if (!entered) return;
      absl::MutexLock lock(&state.mutex);
      if (!waiter->notified) state.waiters.erase(position);
    }
  };
  Registration registration{*state, std::make_shared<Waiter>(executor, deadline)};
  if (!registration.Enter(seen)) co_return true;

  boost::system::error_code error;
  co_await registration.waiter->timer.async_wait(asio::redirect_error(asio::use_awaitable, error));
  {
    absl::MutexLock lock(&state->mutex);
    if (state->version != seen) co_return true;
  }
  if (error == asio::error::operation_aborted) throw boost::system::system_error(error);
  co_return false;
}

}  // namespace dragonfly::runtime
