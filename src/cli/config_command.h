// SPDX-License-Identifier: Apache-2.0
// The subcommands `config check`, `config print` and `config keys` of programs that have a configuration file, and what
// they print.
#pragma once

#include <string>
#include <string_view>
#include <vector>

#include "absl/status/statusor.h"
#include "config/section.h"

namespace CLI {
class App;
}

namespace dragonfly::cli {

struct ConfigCommand {
  ConfigCommand() = default;
  enum class Kind { kNone, kCheck, kPrint, kKeys };
  Kind kind = Kind::kNone;
  bool file_only = false;  // of check: nothing but the file is looked at

  // For options of their own, while the command line is parsed.
  CLI::App* check = nullptr;
  CLI::App* print = nullptr;
};

// Adds the subcommands to `app`; `command`, which must outlive the parsing, is what was chosen. `program` is the name
// in the help; `named` is what the file names on this host: "directories and certificates".
void AddConfigCommand(CLI::App& app, std::string_view program, std::string_view named, ConfigCommand& command);

// Prints to standard output what is wrong with `name`, which is a file or "the environment". Returns the exit code: 0
// when there are no errors, else 1.
int ReportCheck(std::string_view name, const config::LoadReport& report);

struct ConfigValues {
  ConfigValues() = default;
  std::string yaml;
  std::vector<std::string> warnings;
};
// Prints the values to standard output and the warnings to standard error; or the error to standard error, after
// "Error: ". Returns the exit code.
int ReportValues(const absl::StatusOr<ConfigValues>& values);

// Prints each key that the file may have, a line each: path, kind, value, older names; between them a tab. Returns 0.
int ReportKeys(const config::Description& description);

}  // namespace dragonfly::cli
