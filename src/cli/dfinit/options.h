// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <optional>
#include <string>
#include <vector>

namespace dragonfly::cli {

// What is told beside errors.
enum class Verbosity { kNothing, kWarnings, kChanges };

struct DfinitOptions {
  std::string config_path = "/etc/dragonfly/dfinit.yaml";
  std::string root;  // "" for the files of this host
  std::string restart_command = "systemctl restart";
  bool dry_run = false;
  bool uninstall = false;
  bool restart = false;
  bool console = false;  // tell it on standard output, not on standard error
  Verbosity verbosity = Verbosity::kChanges;
};

struct ParsedDfinitOptions {
  DfinitOptions options;
  std::optional<int> exit_code;  // set when the program must end with it
};

// Command line: client v1.0.0 and v1.5.1, dragonfly-client-init/src/bin/main.rs, and options of our own. Help, version
// and usage errors are printed.
ParsedDfinitOptions ParseDfinitOptions(std::vector<std::string> arguments);

}  // namespace dragonfly::cli
