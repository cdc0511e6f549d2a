// SPDX-License-Identifier: Apache-2.0
// Status lines.
#pragma once

#include <string>
#include <string_view>

namespace dragonfly::http {

// "404 Not Found": the registered reason of `status` (RFC 9110 §15). For a status that is not registered, `reason` as
// far as it is printable ASCII, else the number alone.
std::string StatusText(int status, std::string_view reason = "");

}  // namespace dragonfly::http
