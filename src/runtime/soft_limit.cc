// SPDX-License-Identifier: Apache-2.0
#include "runtime/soft_limit.h"

#include <algorithm>
#include <list>

#include "absl/base/thread_annotations.h"
#include "absl/synchronization/mutex.h"
#include "runtime/signal.h"

namespace dragonfly::runtime {

namespace asio = boost::asio;

struct SoftLimit::Waiter {
  Signal admitted;
  bool in = false;  // guarded by State::mutex
};

struct SoftLimit::State {
  State(size_t most, Clock::duration between) : slots(std::max<size_t>(most, 1)), pace(between) {}

  // A user has left: the next one may be in its place.
  void Release() {
    std::shared_ptr<Waiter> next;
    {
      const absl::MutexLock lock(&mutex);
      --held;
      if (held >= slots || queue.empty()) return;
      next = std::move(queue.front());
      queue.pop_front();
      next->in = true;
      ++held;
    }
    next->admitted.Notify();
  }

  const size_t slots;
  const Clock::duration pace;
  mutable absl::Mutex mutex;
  size_t held ABSL_GUARDED_BY(mutex) = 0;
  std::list<std::shared_ptr<Waiter>> queue ABSL_GUARDED_BY(mutex);
  TimePoint last_turn ABSL_GUARDED_BY(mutex);  // of who waits in the queue
};

SoftLimit::SoftLimit(size_t slots, Clock::duration pace) : state_(std::make_shared<State>(slots, pace)) {}

asio::awaitable<SoftLimit::Slot> SoftLimit::Enter() {
  const std::shared_ptr<State> state = state_;
  const auto waiter = std::make_shared<Waiter>();
  TimePoint turn;
  {
    const absl::MutexLock lock(&state->mutex);
    if (state->held < state->slots && state->queue.empty()) {
      ++state->held;
      co_return Slot(state);
    }
    const TimePoint now = Clock::now();
    state->last_turn = (state->queue.empty() ? now : std::max(now, state->last_turn)) + state->pace;
    turn = state->last_turn;
    state->queue.push_back(waiter);
  }
  // Leaves on every way out, cancellation included.
  struct Place {
    Place(State& s, const std::shared_ptr<Waiter>& w) : state(s), waiter(w) {}
    ~Place() {
      if (waiter == nullptr) return;
      {
        const absl::MutexLock lock(&state.mutex);
        if (!waiter->in) {
          state.queue.remove(waiter);
          return;
        }
      }
      state.Release();
    }
    State& state;
    std::shared_ptr<Waiter> waiter;
  };
  Place place(*state, waiter);
  co_await waiter->admitted.Wait(0, turn);
  {
    const absl::MutexLock lock(&state->mutex);
    if (!waiter->in) {
      state->queue.remove(waiter);
      waiter->in = true;
      ++state->held;
    }
  }
  place.waiter = nullptr;
  co_return Slot(state);
}

size_t SoftLimit::held() const {
  const absl::MutexLock lock(&state_->mutex);
  return state_->held;
}

size_t SoftLimit::waiting() const {
  const absl::MutexLock lock(&state_->mutex);
  return state_->queue.size();
}

SoftLimit::Slot::~Slot() {
  if (state_ != nullptr) state_->Release();
}

}  // namespace dragonfly::runtime
