// SPDX-License-Identifier: Apache-2.0
// manager config check, print and keys: what a configuration file says, without starting anything.
#pragma once

#include <string>

namespace dragonfly {

// Prints every error and warning of the file and of the environment, and, unless `file_only`, of what they name on this
// host, to standard output. An empty `path` is no file. Returns the exit code: 0 when a manager would start with it,
// else 1.
int CheckConfig(const std::string& path, bool file_only);

// Prints the values in effect as YAML that loads again, secrets masked; warnings go to standard error. Returns 1, and
// the errors on standard error, when the file does not load.
int PrintConfig(const std::string& path);

// Prints each key that the file may have, a line each: path, kind, default, older names; between them a tab.
int PrintConfigKeys();

}  // namespace dragonfly
