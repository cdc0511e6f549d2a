// SPDX-License-Identifier: Apache-2.0
#include "manager/client_address.h"

#include <arpa/inet.h>

#include <algorithm>

#include "base/text.h"

namespace dragonfly::manager {
namespace {

constexpr unsigned kV4Offset = 96;

// As IPv6, 16 bytes; empty for what is no address.
std::string Bytes(std::string address, bool& v4) {
  unsigned char bytes[16] = {0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0xff, 0xff};
  v4 = inet_pton(AF_INET, address.c_str(), bytes + 12) == 1;
  if (!v4 && inet_pton(AF_INET6, address.c_str(), bytes) != 1) return "";
  return std::string(reinterpret_cast<const char*>(bytes), sizeof bytes);
}

// "10.0.0.1", "10.0.0.1:80", "[::1]", "[::1]:80", "::1" to the address alone.
std::string WithoutPort(std::string_view text) {
  text = TrimSpace(text);
  if (text.starts_with('[')) return std::string(text.substr(1, text.find(']') - 1));
  const size_t colon = text.find(':');
  if (colon != std::string_view::npos && text.find(':', colon + 1) == std::string_view::npos) {
    return std::string(text.substr(0, colon));
  }
  return std::string(text);
}

}  // namespace

std::optional<TrustedProxies::Network> TrustedProxies::Parse(const std::string& text) {
  const size_t slash = text.find('/');
  bool v4 = false;
  Network network;
  network.prefix = Bytes(text.substr(0, slash), v4);
  if (network.prefix.empty()) return std::nullopt;
  network.bits = 128;
  if (slash == std::string::npos) return network;
  const auto bits = ParseDecimal<unsigned>(std::string_view(text).substr(slash + 1));
  if (!bits.has_value() || *bits > (v4 ? 32 : 128)) return std::nullopt;
  network.bits = *bits + (v4 ? kV4Offset : 0);
  return network;
}

bool TrustedProxies::Parses(const std::string& text) { return Parse(text).has_value(); }

TrustedProxies::TrustedProxies(const std::vector<std::string>& networks) {
  for (const std::string& text : networks) {
    if (auto network = Parse(text)) networks_.push_back(*std::move(network));
  }
}

bool TrustedProxies::Contains(const std::string& address) const {
  bool v4 = false;
  const std::string bytes = Bytes(address, v4);
  if (bytes.empty()) return false;
  return std::any_of(networks_.begin(), networks_.end(), [&](const Network& network) {
    const size_t whole = network.bits / 8;
    const unsigned rest = network.bits % 8;
    if (bytes.compare(0, whole, network.prefix, 0, whole) != 0) return false;
    if (rest == 0) return true;
    const auto differ = static_cast<unsigned char>(bytes[whole] ^ network.prefix[whole]);
    return differ >> (8 - rest) == 0;
  });
}

ClientAddress TrustedProxies::Of(const http::Request& request) const {
  ClientAddress client{request.client, request.tls};
  if (networks_.empty() || !Contains(request.client)) return client;
  // The proxy next to us speaks of its own connection.
  client.secure = request.Find("x-forwarded-proto") == "https";
  std::vector<std::string> hops;
  for (const auto& [name, value] : request.header) {
    if (name != "x-forwarded-for") continue;
    for (std::string_view rest = value;;) {
      const size_t comma = rest.find(',');
      hops.push_back(WithoutPort(rest.substr(0, comma)));
      if (comma == std::string_view::npos) break;
      rest.remove_prefix(comma + 1);
    }
  }
  for (auto hop = hops.rbegin(); hop != hops.rend(); ++hop) {
    bool v4 = false;
    // From here on nobody we trust has written.
    if (Bytes(*hop, v4).empty()) break;
    client.address = *hop;
    if (!Contains(*hop)) break;
  }
  return client;
}

}  // namespace dragonfly::manager
