// SPDX-License-Identifier: Apache-2.0
#include "http/networks.h"

#include <algorithm>
#include <optional>

#include "base/text.h"

namespace dragonfly::http {
namespace {

namespace ip = boost::asio::ip;

// `address` as IPv4 where it holds one, and the unspecified one as it is.
ip::address Plain(const ip::address& address) {
  if (address.is_v4()) return address;
  const ip::address_v6::bytes_type bytes = address.to_v6().to_bytes();
  constexpr std::array<uint8_t, 12> kMapped = {0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0xff, 0xff};
  constexpr std::array<uint8_t, 12> kTranslated = {0x00, 0x64, 0xff, 0x9b};
  for (const auto& prefix : {kMapped, kTranslated}) {
    if (std::equal(prefix.begin(), prefix.end(), bytes.begin())) {
      return ip::address_v4({bytes[12], bytes[13], bytes[14], bytes[15]});
    }
  }
  return address;
}

std::array<uint8_t, 16> BytesOf(const ip::address& plain) {
  return plain.is_v4() ? ip::make_address_v6(ip::v4_mapped, plain.to_v4()).to_bytes() : plain.to_v6().to_bytes();
}

}  // namespace

absl::StatusOr<Networks> Networks::Parse(const std::vector<std::string>& texts) {
  Networks out;
  for (const std::string& text : texts) {
    const size_t slash = text.find('/');
    boost::system::error_code error;
    const ip::address address = ip::make_address(text.substr(0, slash), error);
    const bool v4 = !error && address.is_v4();
    const unsigned bits = v4 ? 32 : 128;
    const std::optional<unsigned> prefix =
        slash == std::string::npos ? bits : ParseDecimal<unsigned>(std::string_view(text).substr(slash + 1));
    if (error || !prefix || *prefix > bits) {
      return absl::InvalidArgumentError(StrCat(Quoted(text), " is no network such as 169.254.0.0/16"));
    }
    // ::ffff:10.0.0.0/104 is 10.0.0.0/8.
    const ip::address plain = *prefix + (128 - bits) >= 96 ? Plain(address) : address;
    out.networks_.push_back({BytesOf(plain), *prefix + (128 - bits), plain.is_v4()});
  }
  return out;
}

// AWS, Google, Azure, OpenStack and most others: 169.254.169.254, on AWS also fd00:ec2::254. Alibaba: 100.100.100.200.
// Oracle: 192.0.0.192. Azure's agent: 168.63.129.16.
const std::vector<std::string>& Networks::LinkLocalAndMetadata() {
  static const std::vector<std::string> texts = {"169.254.0.0/16",     "fe80::/10",        "fd00:ec2::254/128",
                                                 "100.100.100.200/32", "168.63.129.16/32", "192.0.0.192/32"};
  return texts;
}

const std::vector<std::string>& Networks::Loopback() {
  static const std::vector<std::string> texts = {"127.0.0.0/8", "0.0.0.0/8", "::1/128", "::/128"};
  return texts;
}

void Networks::Add(const Networks& more) {
  networks_.insert(networks_.end(), more.networks_.begin(), more.networks_.end());
}

void Networks::Except(const Networks& exceptions) {
  exceptions_.insert(exceptions_.end(), exceptions.networks_.begin(), exceptions.networks_.end());
}

bool Networks::Contains(const ip::address& address) const {
  const ip::address plain = Plain(address);
  if (plain.is_unspecified()) {
    const ip::address here = plain.is_v4() ? ip::address(ip::address_v4::loopback()) : ip::address_v6::loopback();
    if (ContainsBytes(BytesOf(here), here.is_v4())) return true;
  }
  return ContainsBytes(BytesOf(plain), plain.is_v4());
}

bool Networks::ContainsBytes(const Bytes& bytes, bool v4) const {
  return Holds(networks_, bytes, v4) && !Holds(exceptions_, bytes, v4);
}

bool Networks::Holds(const std::vector<Network>& networks, const Bytes& bytes, bool v4) {
  for (const Network& network : networks) {
    if (network.v4 != v4) continue;
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

}  // namespace dragonfly::http
