// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <optional>
#include <string>
#include <string_view>

namespace dragonfly::cli {

// The change of the file `path` as `diff -u` writes it, with three lines around, for patch(1); nullopt is a file that
// is not there. "" when nothing changes.
std::string UnifiedDiff(std::string_view path, const std::optional<std::string>& before,
                        const std::optional<std::string>& after);

}  // namespace dragonfly::cli
