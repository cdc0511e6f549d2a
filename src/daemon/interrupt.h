// SPDX-License-Identifier: Apache-2.0
// Ends a coroutine from outside, by a signal.
#pragma once

#include <boost/asio/awaitable.hpp>
#include <cstdint>
#include <optional>
#include <utility>

#include "runtime/signal.h"

namespace dragonfly::daemon {

// Runs `work` and cancels it as soon as signal.version() != seen. True when the work has run to its end, false when it
// was cancelled by the signal; `work` has ended in both cases. Cancelling the caller cancels the work and throws.
boost::asio::awaitable<bool> RunUntil(boost::asio::awaitable<void> work, runtime::Signal signal, uint64_t seen);

namespace internal {

template <typename T>
boost::asio::awaitable<void> Store(boost::asio::awaitable<T> work, std::optional<T>& result) {
  result.emplace(co_await std::move(work));
}

}  // namespace internal

// The same for work with a result; nullopt when the signal cancelled it.
template <typename T>
boost::asio::awaitable<std::optional<T>> RunUntil(boost::asio::awaitable<T> work, runtime::Signal signal,
                                                  uint64_t seen) {
  std::optional<T> result;
  co_await RunUntil(internal::Store<T>(std::move(work), result), std::move(signal), seen);
  co_return result;
}

}  // namespace dragonfly::daemon
