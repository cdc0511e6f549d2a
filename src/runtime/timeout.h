// SPDX-License-Identifier: Apache-2.0
// Deadlines around coroutines.
#pragma once

#include <boost/asio/awaitable.hpp>
#include <optional>
#include <utility>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "runtime/clock.h"

namespace dragonfly::runtime {

// Suspends until `when`. Cancellation throws boost::system::system_error(operation_aborted).
boost::asio::awaitable<void> SleepUntil(TimePoint when);

// Runs `work` and cancels it when `deadline` passes; DEADLINE_EXCEEDED then, unless the work has succeeded all the
// same. `work` must end soon after cancellation: it is awaited in any case, and dropped unrun when the deadline has
// passed already. What it throws is thrown on. Costs an extra coroutine and timer: for control calls, not for the byte
// loop.
boost::asio::awaitable<absl::Status> WithDeadline(boost::asio::awaitable<absl::Status> work, TimePoint deadline);

namespace internal {

template <typename T>
boost::asio::awaitable<absl::Status> StoreResult(boost::asio::awaitable<absl::StatusOr<T>> work,
                                                 std::optional<absl::StatusOr<T>>& result) {
  result.emplace(co_await std::move(work));
  co_return result->status();
}

}  // namespace internal

template <typename T>
boost::asio::awaitable<absl::StatusOr<T>> WithDeadline(boost::asio::awaitable<absl::StatusOr<T>> work,
                                                       TimePoint deadline) {
  std::optional<absl::StatusOr<T>> result;
  const absl::Status status = co_await WithDeadline(internal::StoreResult<T>(std::move(work), result), deadline);
  if (!status.ok()) co_return status;
  co_return *std::move(result);
}

}  // namespace dragonfly::runtime
