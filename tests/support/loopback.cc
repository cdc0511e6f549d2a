// SPDX-License-Identifier: Apache-2.0
#include "tests/support/loopback.h"

#include <arpa/inet.h>
#include <netinet/in.h>
#include <sys/socket.h>

#include <stdexcept>

namespace dragonfly::testing {

BoundSocket BindOnLoopback(int flags) {
  BoundSocket bound;
  bound.fd = UniqueFd(::socket(AF_INET, SOCK_STREAM | flags, 0));
  sockaddr_in address{};
  address.sin_family = AF_INET;
  address.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
  socklen_t size = sizeof address;
  if (!bound.fd.valid() || ::bind(bound.fd.get(), reinterpret_cast<sockaddr*>(&address), size) != 0 ||
      ::getsockname(bound.fd.get(), reinterpret_cast<sockaddr*>(&address), &size) != 0) {
    throw std::runtime_error("no port on loopback");
  }
  bound.port = ntohs(address.sin_port);
  return bound;
}

uint16_t FreePort() { return BindOnLoopback(SOCK_CLOEXEC).port; }

}  // namespace dragonfly::testing
