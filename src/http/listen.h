// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <string>
#include <string_view>

#include "absl/status/statusor.h"
#include "http/server.h"

namespace dragonfly::http {

// Of a server on "10.0.0.1:8000", "[::1]:8000" or ":8000", which is every address: those of IPv6, too, with `ipv6`.
// Port 0 is any that is free. Errors: INVALID_ARGUMENT beginning with `key`, the name of the address in a
// configuration.
absl::StatusOr<ServerOptions> ListenOptions(std::string_view key, const std::string& address, bool ipv6);

}  // namespace dragonfly::http
