// SPDX-License-Identifier: Apache-2.0
// Who is at the other end, behind the proxies that may say so.
#pragma once

#include <string>
#include <vector>

#include "http/networks.h"
#include "http/server.h"

namespace dragonfly::manager {

struct ClientAddress {
  std::string address;
  bool secure = false;  // they speak TLS
};

// Proxies that are believed. Thread-safe.
class TrustedProxies {
 public:
  // Addresses and networks: "10.0.0.0/8", "::1". With one that is neither, nobody is believed; the configuration has
  // refused it before.
  explicit TrustedProxies(const std::vector<std::string>& networks);

  // The last address in X-Forwarded-For that is none of a trusted proxy, when a trusted proxy has called; else who has
  // called. X-Forwarded-Proto is believed in the same way. What a stranger writes into these headers has no effect.
  ClientAddress Of(const http::Request& request) const;

 private:
  http::Networks networks_;
};

}  // namespace dragonfly::manager
