// SPDX-License-Identifier: Apache-2.0
// The proxies that the environment names, as libcurl 7.88 understands it.
#pragma once

#include <string>
#include <string_view>

namespace dragonfly::http {

// The proxy for requests to `host` (a name, or an IP literal; IPv6 with or without brackets) by `scheme` (http, https),
// as the variable has it: a URL, or host[:port]. Empty: none. <scheme>_proxy, then all_proxy, each in lower or upper
// case, unless no_proxy has the host: names with all below them, addresses, networks (10.0.0.0/8), or "*" for all.
// Reads the environment each time, so nobody may change it meanwhile.
std::string ProxyOfEnvironment(std::string_view scheme, std::string_view host);

}  // namespace dragonfly::http
