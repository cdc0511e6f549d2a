// SPDX-License-Identifier: Apache-2.0
// dfdaemon config check, print and keys: what a configuration file says, without starting anything.
#pragma once

#include <string>

namespace dragonfly {

// Prints every error and warning of the file, and, unless `file_only`, of what it names on this host, to standard
// output. Returns the exit code: 0 when a daemon would start with it, else 1.
int CheckConfig(const std::string& path, const std::string& dynconfig, bool file_only);

// Prints the values in effect as YAML that loads again, secrets masked; warnings go to standard error. Returns 1, and
// the errors on standard output, when the file does not load.
int PrintConfig(const std::string& path, const std::string& dynconfig);

// Prints each key that the file may have, a line each: path, kind, default, older names; between them a tab.
int PrintConfigKeys();

}  // namespace dragonfly
