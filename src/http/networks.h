// SPDX-License-Identifier: Apache-2.0
// Sets of IP networks: where requests for URLs of somebody else's choice must not lead, whatever name they use.
#pragma once

#include <array>
#include <boost/asio/ip/address.hpp>
#include <cstdint>
#include <string>
#include <string_view>
#include <vector>

#include "absl/status/statusor.h"

namespace dragonfly::http {

// Immutable once made, thread-safe.
class Networks {
 public:
  Networks() = default;
  // Each an address or "address/prefix length". Errors: INVALID_ARGUMENT naming the text.
  static absl::StatusOr<Networks> Parse(const std::vector<std::string>& texts);
  // Link-local networks and the addresses of metadata services, which hand out credentials of a cloud's machines.
  static const std::vector<std::string>& LinkLocalAndMetadata();
  // What leads to this host whatever its addresses are.
  static const std::vector<std::string>& Loopback();

  void Add(const Networks& more);
  // What is in `exceptions` is no longer contained, whatever is added before or after.
  void Except(const Networks& exceptions);

  bool empty() const { return networks_.empty(); }
  // An IPv4 address in an IPv6 one (mapped, or translated by 64:ff9b::/96, RFC 6052) counts as IPv4. The unspecified
  // addresses count as loopback, too, since the kernel connects them to this host.
  bool Contains(const boost::asio::ip::address& address) const;

 private:
  using Bytes = std::array<uint8_t, 16>;
  struct Network {
    Bytes bytes{};        // IPv4 as mapped into IPv6
    unsigned prefix = 0;  // bits
    bool v4 = false;
  };
  bool ContainsBytes(const Bytes& bytes, bool v4) const;

  static bool Holds(const std::vector<Network>& networks, const Bytes& bytes, bool v4);

  std::vector<Network> networks_;
  std::vector<Network> exceptions_;
};

}  // namespace dragonfly::http
