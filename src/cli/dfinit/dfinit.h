// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <string>
#include <vector>

namespace dragonfly::cli {

// The program dfinit: points the container runtimes of this host at its dfdaemon and returns the exit code. `arguments`
// are those behind the program's name.
int RunDfinit(std::vector<std::string> arguments);

}  // namespace dragonfly::cli
