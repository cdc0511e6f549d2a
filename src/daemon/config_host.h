// SPDX-License-Identifier: Apache-2.0
// Whether this host has what the configuration names: files that can be read, directories that can be written.
#pragma once

#include <string>
#include <vector>

#include "daemon/config.h"

namespace dragonfly::daemon {

// "<key>: <reason>" of everything that would keep a daemon from starting or serving here; empty when all is well.
// Looks only: no directory is made, no port is bound. Blocks on the file system.
std::vector<std::string> CheckHost(const DaemonConfig& config);

}  // namespace dragonfly::daemon
