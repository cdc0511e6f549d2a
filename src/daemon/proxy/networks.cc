// SPDX-License-Identifier: Apache-2.0
#include "daemon/proxy/networks.h"

#include <optional>

#include "base/text.h"

namespace dragonfly::daemon::proxy {
namespace {

namespace ip = boost::asio::ip;

std::array<uint8_t, 16> BytesOf(const ip::address& address) {
  if (address.is_v6()) return address.to_v6().to_bytes();
  return ip::make_address_v6(ip::v4_mapped, address.to_v4()).to_bytes();
}

}  // namespace

absl::StatusOr<Networks> Networks::Parse(const std::vector<std::string>& texts) {
  Networks out;
  for (const std::string& text : texts) {
    const size_t slash = text.find('/');
    boost::system::error_code error;
    const ip::address address = ip::make_address(text.substr(0, slash), error);
    const unsigned bits = !error && address.is_v4() ? 32 : 128;
    const std::optional<unsigned> prefix =
        slash == std::string::npos ? bits : ParseDecimal<unsigned>(std::string_view(text).substr(slash + 1));
    if (error || !prefix || *prefix > bits) {
      return absl::InvalidArgumentError(StrCat(Quoted(text), " is no network such as 169.254.0.0/16"));
    }
    out.networks_.push_back({BytesOf(address), *prefix + (128 - bits)});
  }
  return out;
}

bool Networks::Contains(const ip::address& address) const {
  const std::array<uint8_t, 16> bytes = BytesOf(address);
  for (const Network& network : networks_) {
    unsigned left = network.prefix;
    bool same = true;
    for (size_t i = 0; same && left > 0; ++i) {
      const unsigned take = left < 8 ? left : 8;
      const auto mask = static_cast<uint8_t>(0xff << (8 - take));
      same = (bytes[i] & mask) == (network.bytes[i] & mask);
      left -= take;
    }
    if (same) return true;
  }
  return false;
}

}  // namespace dragonfly::daemon::proxy
