// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <sys/socket.h>

#include <cstdint>
#include <string>

#include "absl/status/statusor.h"

namespace dragonfly::vortex {

// An IPv4 or IPv6 address with a port, as the socket calls take it.
struct SocketAddress {
  // Errors: INVALID_ARGUMENT when `ip` is no IP address.
  static absl::StatusOr<SocketAddress> Make(const std::string& ip, uint16_t port);
  // The local end of a bound socket. Errors: of getsockname.
  static absl::StatusOr<SocketAddress> OfSocket(int fd);

  sockaddr* get() { return reinterpret_cast<sockaddr*>(&storage); }
  const sockaddr* get() const { return reinterpret_cast<const sockaddr*>(&storage); }
  int family() const { return storage.ss_family; }
  uint16_t port() const;

  sockaddr_storage storage{};
  socklen_t size = 0;
};

}  // namespace dragonfly::vortex
