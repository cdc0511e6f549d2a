// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <cstdint>

#include "base/unique_fd.h"

namespace dragonfly::testing {

struct BoundSocket {
  UniqueFd fd;
  uint16_t port = 0;
};

// A TCP socket on a free port of 127.0.0.1; `flags` are those of socket(2), as SOCK_CLOEXEC. Throws std::runtime_error
// when there is none.
BoundSocket BindOnLoopback(int flags);

// A port that is free at this moment, for servers that take no listening socket. Throws as BindOnLoopback().
uint16_t FreePort();

}  // namespace dragonfly::testing
