// SPDX-License-Identifier: Apache-2.0
// What the command lines of all tools have in common: option syntax, usage errors, version text.
#pragma once

#include <functional>
#include <optional>
#include <string>
#include <vector>

namespace CLI {
class App;
}

namespace dragonfly::cli {

// Parses the arguments (without the program's name) into `app`. Returns nullopt when the program may go on, else its
// exit code after help (0), version (0) or a usage error (2: "error: ..." and a usage line on standard error) was
// printed. Accepts `-OVALUE`, `-O VALUE` and `-O=VALUE`; from the environment, switches take only "true" and "false".
std::optional<int> ParseCommandLine(CLI::App& app, std::vector<std::string> arguments);

// Makes `app` write its options' descriptions in lines of at most 100 characters. Before subcommands are added.
void WrapHelp(CLI::App& app);

// "<name> <version> (<commit>, <date>)".
std::string VersionText(const std::string& name);

}  // namespace dragonfly::cli
