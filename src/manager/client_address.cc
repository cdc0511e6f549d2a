// SPDX-License-Identifier: Apache-2.0
#include "manager/client_address.h"

#include <optional>

#include "base/text.h"

namespace dragonfly::manager {
namespace asio = boost::asio;
namespace {

std::optional<asio::ip::address> AddressIn(const std::string& text) {
  boost::system::error_code error;
  const auto address = asio::ip::make_address(text, error);
  if (error) return std::nullopt;
  return address;
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

TrustedProxies::TrustedProxies(const std::vector<std::string>& networks) {
  auto parsed = http::Networks::Parse(networks);
  if (parsed.ok()) networks_ = *std::move(parsed);
}

ClientAddress TrustedProxies::Of(const http::Request& request) const {
  ClientAddress client{request.client, request.tls};
  if (networks_.empty()) return client;
  const auto caller = AddressIn(request.client);
  if (!caller.has_value() || !networks_.Contains(*caller)) return client;
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
    const auto address = AddressIn(*hop);
    // From here on nobody we trust has written.
    if (!address.has_value()) break;
    client.address = *hop;
    if (!networks_.Contains(*address)) break;
  }
  return client;
}

}  // namespace dragonfly::manager
