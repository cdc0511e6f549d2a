// SPDX-License-Identifier: Apache-2.0
#include "vortex/socket_address.h"

#include <arpa/inet.h>
#include <netinet/in.h>

#include <cerrno>

#include "base/status.h"
#include "base/text.h"

namespace dragonfly::vortex {

absl::StatusOr<SocketAddress> SocketAddress::Make(const std::string& ip, uint16_t port) {
  SocketAddress address;
  if (auto* v4 = reinterpret_cast<sockaddr_in*>(&address.storage);
      ::inet_pton(AF_INET, ip.c_str(), &v4->sin_addr) == 1) {
    v4->sin_family = AF_INET;
    v4->sin_port = htons(port);
    address.size = sizeof(*v4);
  } else if (auto* v6 = reinterpret_cast<sockaddr_in6*>(&address.storage);
             ::inet_pton(AF_INET6, ip.c_str(), &v6->sin6_addr) == 1) {
    v6->sin6_family = AF_INET6;
    v6->sin6_port = htons(port);
    address.size = sizeof(*v6);
  } else {
    return absl::InvalidArgumentError(StrCat(Quoted(ip), " is not an IP address"));
  }
  return address;
}

absl::StatusOr<SocketAddress> SocketAddress::OfSocket(int fd) {
  SocketAddress address;
  address.size = sizeof(address.storage);
  if (::getsockname(fd, address.get(), &address.size) != 0) return ErrnoStatus(errno, "getsockname");
  return address;
}

uint16_t SocketAddress::port() const {
  return ntohs(family() == AF_INET6 ? reinterpret_cast<const sockaddr_in6&>(storage).sin6_port
                                    : reinterpret_cast<const sockaddr_in&>(storage).sin_port);
}

}  // namespace dragonfly::vortex
