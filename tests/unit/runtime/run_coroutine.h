// SPDX-License-Identifier: Apache-2.0
// Runs a coroutine to its end from a test's thread.
#pragma once

#include <boost/asio/awaitable.hpp>
#include <boost/asio/co_spawn.hpp>
#include <boost/asio/io_context.hpp>
#include <boost/asio/use_future.hpp>
#include <chrono>
#include <future>
#include <stdexcept>
#include <utility>

namespace dragonfly::runtime {

inline constexpr std::chrono::seconds kPatience{30};

// Runs `work` on `io`, which another thread runs, and returns its result; throws when it takes longer than kPatience.
template <typename T>
T RunOn(boost::asio::io_context& io, boost::asio::awaitable<T> work) {
  std::future<T> result = boost::asio::co_spawn(io, std::move(work), boost::asio::use_future);
  if (result.wait_for(kPatience) != std::future_status::ready) throw std::runtime_error("the coroutine did not end");
  return result.get();
}

}  // namespace dragonfly::runtime
