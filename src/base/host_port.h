// SPDX-License-Identifier: Apache-2.0
// Addresses as people write them.
#pragma once

#include <cstdint>
#include <string>
#include <string_view>
#include <utility>

#include "absl/status/statusor.h"

namespace dragonfly {

// True for an IPv4 or IPv6 address without brackets, port or zone.
bool IsIpLiteral(const std::string& text);

// Checks "host:port", "1.2.3.4:port" or "[::1]:port" and splits it; the host comes without brackets. Errors:
// INVALID_ARGUMENT with the text and the reason.
absl::StatusOr<std::pair<std::string, uint16_t>> SplitHostPort(std::string_view address);

}  // namespace dragonfly
