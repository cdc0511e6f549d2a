// SPDX-License-Identifier: Apache-2.0
#include "runtime/timeout.h"

#include <array>
#include <boost/asio/co_spawn.hpp>
#include <boost/asio/deferred.hpp>
#include <boost/asio/experimental/parallel_group.hpp>
#include <boost/asio/steady_timer.hpp>
#include <boost/asio/this_coro.hpp>
#include <boost/asio/use_awaitable.hpp>
#include <boost/system/system_error.hpp>
#include <exception>
#include <tuple>

#include "runtime/cancellation.h"

namespace dragonfly::runtime {

namespace asio = boost::asio;

asio::awaitable<void> SleepUntil(TimePoint when) {
  asio::steady_timer timer(co_await asio::this_coro::executor, when);
  co_await timer.async_wait(asio::use_awaitable);
}

asio::awaitable<absl::Status> WithDeadline(asio::awaitable<absl::Status> work, TimePoint deadline) {
  if (deadline == kNoDeadline) co_return co_await std::move(work);
  if (deadline <= Clock::now()) co_return absl::DeadlineExceededError("deadline passed");

  const asio::any_io_executor executor = co_await asio::this_coro::executor;
  asio::steady_timer timer(executor, deadline);
  auto group = asio::experimental::make_parallel_group(asio::co_spawn(executor, std::move(work), asio::deferred),
                                                       timer.async_wait(asio::deferred));
  const std::tuple<std::array<size_t, 2>, std::exception_ptr, absl::Status, boost::system::error_code> outcome =
      co_await group.async_wait(asio::experimental::wait_for_one(), asio::use_awaitable);
  const auto& [order, failure, status, timer_error] = outcome;

  // The timer ends first and without an error only when it has expired; cancelling the caller cancels both.
  const bool expired = order[0] == 1 && !timer_error;
  if (failure) {
    if (expired && IsCancellation(failure)) co_return absl::DeadlineExceededError("deadline passed");
    std::rethrow_exception(failure);
  }
  if (expired && !status.ok()) co_return absl::DeadlineExceededError("deadline passed");
  co_return status;
}

}  // namespace dragonfly::runtime
