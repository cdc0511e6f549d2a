// SPDX-License-Identifier: Apache-2.0
// Deadlines around coroutines.
#pragma once

#include <boost/asio/awaitable.hpp>
#include <boost/asio/experimental/awaitable_operators.hpp>
#include <boost/asio/redirect_error.hpp>
#include <boost/asio/steady_timer.hpp>
#include <boost/asio/this_coro.hpp>
#include <boost/asio/use_awaitable.hpp>
#include <utility>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "runtime/clock.h"

namespace dragonfly::runtime {

// Suspends until `when`. Cancellation throws boost::system::system_error(operation_aborted).
boost::asio::awaitable<void> SleepUntil(TimePoint when);

// Runs `work` and cancels it when `deadline` passes; DEADLINE_EXCEEDED then. `work` must end soon after cancellation.
// Costs an extra coroutine and timer: for control calls, not for the byte loop.
boost::asio::awaitable<absl::Status> WithDeadline(boost::asio::awaitable<absl::Status> work, TimePoint deadline);

template <typename T>
boost::asio::awaitable<absl::StatusOr<T>> WithDeadline(boost::asio::awaitable<absl::StatusOr<T>> work,
                                                       TimePoint deadline) {
  using boost::asio::experimental::awaitable_operators::operator||;
  auto winner = co_await (std::move(work) || SleepUntil(deadline));
  if (winner.index() == 1) co_return absl::DeadlineExceededError("deadline passed");
  co_return std::get<0>(std::move(winner));
}

}  // namespace dragonfly::runtime
