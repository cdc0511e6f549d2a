// SPDX-License-Identifier: Apache-2.0
// Which headers of a request may tell an origin who asks.
#pragma once

#include <string_view>

namespace dragonfly::daemon {

// False for the headers that are known to tell nobody who the client is. Services have their own names for credentials
// (PRIVATE-TOKEN, X-Api-Key), so every other one counts. `lower_name` is in lower case.
bool MayBeCredential(std::string_view lower_name);

}  // namespace dragonfly::daemon
