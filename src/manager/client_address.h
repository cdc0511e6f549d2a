// SPDX-License-Identifier: Apache-2.0
// Who is at the other end, behind the proxies that may say so.
#pragma once

#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "http/server.h"

namespace dragonfly::manager {

struct ClientAddress {
  std::string address;
  bool secure = false;  // they speak TLS
};

// Proxies that are believed. Thread-safe.
class TrustedProxies {
 public:
  // Addresses and networks: "10.0.0.0/8", "::1". What is neither is left out; the configuration has refused it before.
  explicit TrustedProxies(const std::vector<std::string>& networks);

  // The last address in X-Forwarded-For that is none of a trusted proxy, when a trusted proxy has called; else who has
  // called. X-Forwarded-Proto is believed in the same way. What a stranger writes into these headers has no effect.
  ClientAddress Of(const http::Request& request) const;

  // Whether the text is an address or a network.
  static bool Parses(const std::string& text);

 private:
  struct Network {
    std::string prefix;  // of IPv6, or of IPv4 mapped into it: 16 bytes
    unsigned bits = 0;
  };
  static std::optional<Network> Parse(const std::string& text);
  bool Contains(const std::string& address) const;

  std::vector<Network> networks_;
};

}  // namespace dragonfly::manager
