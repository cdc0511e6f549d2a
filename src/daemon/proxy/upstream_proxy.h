// SPDX-License-Identifier: Apache-2.0
// The proxy between this one and the origins, if the environment names one.
#pragma once

#include <cstdint>
#include <optional>
#include <string>
#include <vector>

#include "absl/status/statusor.h"
#include "base/url.h"

namespace dragonfly::daemon::proxy {

struct UpstreamProxy {
  Url url;                    // http or https, with a host
  std::string authorization;  // the value of Proxy-Authorization; empty: none
};

// Where this proxy can be reached: an environment that names it as its own upstream means everybody else.
struct OwnAddress {
  uint16_t port = 0;
  std::vector<std::string> hosts;  // beside the loopback addresses
};

// The proxy for requests to `origin`; nullopt: none. Errors: HttpError 502 naming one that is not of http or https.
absl::StatusOr<std::optional<UpstreamProxy>> UpstreamProxyOf(const Url& origin, const OwnAddress& own);

}  // namespace dragonfly::daemon::proxy
