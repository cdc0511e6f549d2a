// SPDX-License-Identifier: Apache-2.0
// What this machine is called and which of its addresses others can reach.
#pragma once

#include <cstdint>
#include <string>

#include "absl/status/statusor.h"

namespace dragonfly::runtime {

// The system's host name. Errors: of gethostname(2).
absl::StatusOr<std::string> SystemHostname();

struct LocalAddress {
  std::string ip;
  std::string interface;  // "eth0"
  bool loopback = false;  // no other address was found: only this host can reach it
};

// The address to advertise when none is configured: of the interface of the default route, else of the first interface
// that is up and not a loopback; IPv4 before IPv6, or the other way with `prefer_ipv6`; else 127.0.0.1. Link-local
// addresses do not count. Errors: of getifaddrs(3).
absl::StatusOr<LocalAddress> FindLocalAddress(bool prefer_ipv6);

// The name of the interface that has `ip`, or "".
std::string InterfaceOf(const std::string& ip);

// Whether `ip` is an address of this machine's own loopback ("127.0.0.1", "::1").
bool IsLoopback(const std::string& ip);

}  // namespace dragonfly::runtime
