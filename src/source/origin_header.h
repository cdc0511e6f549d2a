// SPDX-License-Identifier: Apache-2.0
// The headers that go to an origin.
#pragma once

#include <map>
#include <string>
#include <utility>
#include <vector>

#include "absl/status/statusor.h"

namespace dragonfly::source {

using HeaderFields = std::vector<std::pair<std::string, std::string>>;

// The caller's headers, then those of `defaults` and the User-Agent whose names (in any case) the caller lacks. Range
// and If-Range are left out, since the source asks for ranges itself, and so are those that belong to the caller's
// connection (RFC 9110 §7.6.1) or describe a body. Errors: INVALID_ARGUMENT for a name that is no token, or a value
// with CR, LF or NUL.
absl::StatusOr<HeaderFields> MakeOriginHeader(const HeaderFields& caller,
                                              const std::map<std::string, std::string>& defaults,
                                              const std::string& user_agent);

// Takes away what must not reach another origin than it was meant for: Authorization, Cookie, Cookie2,
// Proxy-Authorization, WWW-Authenticate, and Host.
void DropCredentials(HeaderFields& header);

}  // namespace dragonfly::source
