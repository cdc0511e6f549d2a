// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <string_view>

namespace dragonfly {

// The release of Dragonfly whose behaviour the programs have.
inline constexpr std::string_view kVersion = "2.3.0";

// First nine digits of the commit that was built, "unknown" outside a checkout.
std::string_view GitCommit();
// Day of the commit, "YYYY-MM-DD", or "unknown".
std::string_view BuildDate();

}  // namespace dragonfly
