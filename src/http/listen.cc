// SPDX-License-Identifier: Apache-2.0
#include "http/listen.h"

#include "base/host_port.h"
#include "base/status.h"
#include "base/text.h"

namespace dragonfly::http {

absl::StatusOr<ServerOptions> ListenOptions(std::string_view key, const std::string& address, bool ipv6) {
  std::string text = address.starts_with(':') ? StrCat(ipv6 ? "[::]" : "0.0.0.0", address) : address;
  // 0 is no port of an address that can be called.
  const bool any_port = text.ends_with(":0");
  if (any_port) text.back() = '1';
  const auto parts = SplitHostPort(text);
  if (!parts.ok()) return Annotate(parts.status(), key);
  ServerOptions options;
  options.ip = parts->first;
  options.port = any_port ? uint16_t{0} : parts->second;
  return options;
}

}  // namespace dragonfly::http
