// SPDX-License-Identifier: Apache-2.0
#include "daemon/interrupt.h"

#include <array>
#include <boost/asio/co_spawn.hpp>
#include <boost/asio/deferred.hpp>
#include <boost/asio/experimental/parallel_group.hpp>
#include <boost/asio/this_coro.hpp>
#include <boost/asio/use_awaitable.hpp>
#include <exception>
#include <tuple>

#include "runtime/cancellation.h"

namespace dragonfly::daemon {

namespace asio = boost::asio;

asio::awaitable<bool> RunUntil(asio::awaitable<void> work, runtime::Signal signal, uint64_t seen) {
  if (signal.version() != seen) co_return false;
  const asio::any_io_executor executor = co_await asio::this_coro::executor;
  auto group = asio::experimental::make_parallel_group(asio::co_spawn(executor, std::move(work), asio::deferred),
                                                       asio::co_spawn(executor, signal.Wait(seen), asio::deferred));
  const std::tuple<std::array<size_t, 2>, std::exception_ptr, std::exception_ptr, bool> outcome =
      co_await group.async_wait(asio::experimental::wait_for_one(), asio::use_awaitable);
  const std::exception_ptr& failure = std::get<1>(outcome);
  if (!failure) co_return true;
  // The wait ends first and without an exception only when the signal came; cancelling the caller cancels both.
  const bool signalled = std::get<0>(outcome)[0] == 1 && !std::get<2>(outcome);
  if (signalled && runtime::IsCancellation(failure)) co_return false;
  std::rethrow_exception(failure);
}

}  // namespace dragonfly::daemon
