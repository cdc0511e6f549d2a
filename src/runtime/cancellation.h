// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <exception>

namespace dragonfly::runtime {

// Whether `failure`, which is not null, is how a coroutine of Asio ends that was cancelled.
bool IsCancellation(const std::exception_ptr& failure);

}  // namespace dragonfly::runtime
