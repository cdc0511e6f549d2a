// SPDX-License-Identifier: Apache-2.0
// manager config check, print and keys: what a configuration file says, without starting anything.
#pragma once

#include "cli/server_options.h"

namespace dragonfly {

// Prints every error and warning of the file and of the environment, and, unless the command line wants the file alone,
// of what they name on this host. Returns the exit code: 0 when the program would start with it, else 1.
int CheckConfig(const cli::ServerOptions& options);

// Prints the values in effect as YAML that loads again, secrets masked. Returns the exit code.
int PrintConfig(const cli::ServerOptions& options);

// Prints each key that the file may have. Returns 0.
int PrintConfigKeys();

}  // namespace dragonfly
