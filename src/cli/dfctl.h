// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <string>
#include <vector>

namespace dragonfly::cli {

// Runs dfctl with the arguments behind its name; returns its exit code.
int RunDfctl(std::vector<std::string> arguments);

}  // namespace dragonfly::cli
