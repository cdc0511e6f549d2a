// SPDX-License-Identifier: Apache-2.0
#include "runtime/local_address.h"

#include <arpa/inet.h>
#include <ifaddrs.h>
#include <net/if.h>
#include <netinet/in.h>
#include <unistd.h>

#include <array>
#include <cerrno>
#include <climits>
#include <fstream>
#include <memory>
#include <sstream>
#include <vector>

#include "base/status.h"

namespace dragonfly::runtime {
namespace {

struct InterfaceAddress {
  std::string interface;
  std::string ip;
  bool ipv6 = false;
  bool loopback = false;
};

std::string ToText(const sockaddr* address) {
  std::array<char, INET6_ADDRSTRLEN> text{};
  const void* bytes = address->sa_family == AF_INET
                          ? static_cast<const void*>(&reinterpret_cast<const sockaddr_in*>(address)->sin_addr)
                          : static_cast<const void*>(&reinterpret_cast<const sockaddr_in6*>(address)->sin6_addr);
  return inet_ntop(address->sa_family, bytes, text.data(), text.size()) == nullptr ? "" : text.data();
}

absl::StatusOr<std::vector<InterfaceAddress>> ListAddresses() {
  ifaddrs* head = nullptr;
  if (getifaddrs(&head) != 0) return ErrnoStatus(errno, "list the network interfaces");
  const std::unique_ptr<ifaddrs, decltype(&freeifaddrs)> owner(head, &freeifaddrs);
  std::vector<InterfaceAddress> addresses;
  for (const ifaddrs* at = head; at != nullptr; at = at->ifa_next) {
    if (at->ifa_addr == nullptr || (at->ifa_flags & IFF_UP) == 0) continue;
    const int family = at->ifa_addr->sa_family;
    if (family != AF_INET && family != AF_INET6) continue;
    if (family == AF_INET6 && IN6_IS_ADDR_LINKLOCAL(&reinterpret_cast<const sockaddr_in6*>(at->ifa_addr)->sin6_addr)) {
      continue;
    }
    InterfaceAddress address;
    address.interface = at->ifa_name;
    address.ip = ToText(at->ifa_addr);
    address.ipv6 = family == AF_INET6;
    address.loopback = (at->ifa_flags & IFF_LOOPBACK) != 0;
    if (!address.ip.empty() && !(family == AF_INET && address.ip.starts_with("169.254."))) {
      addresses.push_back(std::move(address));
    }
  }
  return addresses;
}

// The interface of the IPv4 default route with the lowest metric, from /proc/net/route (proc(5)); "" when there is
// none.
std::string DefaultRouteInterface() {
  std::ifstream routes("/proc/net/route");
  std::string line;
  std::getline(routes, line);  // headings
  std::string best;
  unsigned long best_metric = ULONG_MAX;
  while (std::getline(routes, line)) {
    std::istringstream fields(line);
    std::string interface, destination, gateway, flags, uses, references, mask;
    unsigned long metric = 0;
    fields >> interface >> destination >> gateway >> flags >> references >> uses >> metric >> mask;
    if (!fields || destination != "00000000" || mask != "00000000") continue;
    if (metric < best_metric) {
      best = interface;
      best_metric = metric;
    }
  }
  return best;
}

}  // namespace

absl::StatusOr<std::string> SystemHostname() {
  std::array<char, HOST_NAME_MAX + 1> name{};
  if (gethostname(name.data(), name.size() - 1) != 0) return ErrnoStatus(errno, "read the host name");
  return std::string(name.data());
}

absl::StatusOr<LocalAddress> FindLocalAddress(bool prefer_ipv6) {
  DF_ASSIGN_OR_RETURN(const std::vector<InterfaceAddress> addresses, ListAddresses());
  const std::string default_interface = DefaultRouteInterface();
  for (const bool ipv6 : {prefer_ipv6, !prefer_ipv6}) {
    const InterfaceAddress* found = nullptr;
    for (const InterfaceAddress& address : addresses) {
      if (address.loopback || address.ipv6 != ipv6) continue;
      const bool better =
          found == nullptr || (address.interface == default_interface && found->interface != default_interface);
      if (better) found = &address;
    }
    if (found != nullptr) return LocalAddress{.ip = found->ip, .interface = found->interface};
  }
  return LocalAddress{.ip = "127.0.0.1", .interface = "lo", .loopback = true};
}

std::string InterfaceOf(const std::string& ip) {
  const auto addresses = ListAddresses();
  if (!addresses.ok()) return "";
  for (const InterfaceAddress& address : *addresses) {
    if (address.ip == ip) return address.interface;
  }
  return "";
}

bool IsLoopback(const std::string& ip) { return ip.starts_with("127.") || ip == "::1"; }

}  // namespace dragonfly::runtime
