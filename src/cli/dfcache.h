// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <string>
#include <vector>

namespace dragonfly::cli {

// The program dfcache, without its name among the arguments; returns the exit code.
int RunDfcache(std::vector<std::string> arguments);

}  // namespace dragonfly::cli
