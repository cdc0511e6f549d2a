// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <boost/asio/awaitable.hpp>
#include <cstddef>
#include <functional>

namespace dragonfly::runtime {

// Runs work(0) ... work(count - 1) on the caller's executor, in their order, at most `at_once` at a time, and returns
// when all have ended. Cancellation of the caller cancels all of them, waits for their end, and is thrown on.
boost::asio::awaitable<void> ForEach(size_t count, size_t at_once,
                                     std::function<boost::asio::awaitable<void>(size_t)> work);

}  // namespace dragonfly::runtime
