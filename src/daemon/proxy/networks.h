// SPDX-License-Identifier: Apache-2.0
// proxy.forbiddenNetworks: where no request may lead, whatever name it uses.
#pragma once

#include <array>
#include <boost/asio/ip/address.hpp>
#include <cstdint>
#include <string>
#include <string_view>
#include <vector>

#include "absl/status/statusor.h"

namespace dragonfly::daemon::proxy {

// Immutable, thread-safe.
class Networks {
 public:
  Networks() = default;
  // Each an address or "address/prefix length". Errors: INVALID_ARGUMENT naming the text.
  static absl::StatusOr<Networks> Parse(const std::vector<std::string>& texts);

  bool empty() const { return networks_.empty(); }
  // An IPv4 address that is mapped into IPv6 counts as IPv4.
  bool Contains(const boost::asio::ip::address& address) const;

 private:
  struct Network {
    std::array<uint8_t, 16> bytes{};  // IPv4 as mapped into IPv6
    unsigned prefix = 0;              // bits
  };
  std::vector<Network> networks_;
};

}  // namespace dragonfly::daemon::proxy
