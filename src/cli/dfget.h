// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <string>
#include <vector>

namespace dragonfly::cli {

// The program dfget: downloads one file through the local dfdaemon and returns the exit code. `arguments` are those
// behind the program's name.
int RunDfget(std::vector<std::string> arguments);

}  // namespace dragonfly::cli
