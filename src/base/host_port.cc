// SPDX-License-Identifier: Apache-2.0
#include "base/host_port.h"

#include <arpa/inet.h>

#include <optional>

#include "absl/status/status.h"
#include "base/text.h"

namespace dragonfly {

bool IsIpLiteral(const std::string& text) {
  in6_addr bytes;
  return inet_pton(AF_INET, text.c_str(), &bytes) == 1 || inet_pton(AF_INET6, text.c_str(), &bytes) == 1;
}

absl::StatusOr<std::pair<std::string, uint16_t>> SplitHostPort(std::string_view address) {
  const auto wrong = [&](std::string_view why) {
    return absl::InvalidArgumentError(StrCat("\"", address, "\" is not host:port: ", why));
  };
  const size_t colon = address.rfind(':');
  if (colon == std::string_view::npos) return wrong("no port");
  std::string_view host = address.substr(0, colon);
  const std::optional<uint16_t> port = ParseDecimal<uint16_t>(address.substr(colon + 1));
  if (!port || *port == 0) return wrong("bad port");
  const bool bracketed = host.starts_with('[');
  if (bracketed) {
    if (!host.ends_with(']')) return wrong("missing ]");
    host = host.substr(1, host.size() - 2);
  }
  if (host.empty()) return wrong("no host");
  if (bracketed != (host.find(':') != std::string_view::npos)) return wrong("an IPv6 address stands in brackets");
  if (bracketed && !IsIpLiteral(std::string(host))) return wrong("not an IPv6 address");
  return std::pair(std::string(host), *port);
}

}  // namespace dragonfly
