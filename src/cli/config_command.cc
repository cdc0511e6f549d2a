// SPDX-License-Identifier: Apache-2.0
#include "cli/config_command.h"

#include <CLI/CLI.hpp>
#include <iostream>

#include "absl/strings/str_join.h"
#include "base/status.h"
#include "base/text.h"

namespace dragonfly::cli {
namespace {

std::string Count(size_t count, std::string_view what) { return StrCat(count, " ", what, count == 1 ? "" : "s"); }

}  // namespace

void AddConfigCommand(CLI::App& app, std::string_view program, std::string_view named, ConfigCommand& command) {
  using Kind = ConfigCommand::Kind;
  CLI::App* const config = app.add_subcommand("config", "Check or print the configuration, without starting anything");
  config->require_subcommand(1);
  config->footer("");
  command.check = config->add_subcommand(
      "check", StrCat("Print every error and warning of the configuration, and of what it names on this host.\n"
                      "Exit status 0: a ",
                      program, " would start with it; 1: it would not."));
  command.check->add_flag("--file-only", command.file_only,
                          StrCat("Look at the file alone, not at the ", named, " that it names"));
  command.check->callback([&command] { command.kind = Kind::kCheck; });
  command.print = config->add_subcommand(
      "print", "Print the values in effect, as a file that loads again; secrets are replaced by stars");
  command.print->callback([&command] { command.kind = Kind::kPrint; });
  config
      ->add_subcommand("keys",
                       "Print all keys, a line each: key, kind of value, default, former names; between them a tab")
      ->callback([&command] { command.kind = Kind::kKeys; });
}

int ReportCheck(std::string_view name, const config::LoadReport& report) {
  for (const std::string& error : report.errors) std::cout << "error: " << error << "\n";
  for (const std::string& warning : report.warnings) std::cout << "warning: " << warning << "\n";
  const std::string warnings = Count(report.warnings.size(), "warning");
  if (report.errors.empty()) {
    std::cout << name << " is good, " << warnings << "\n";
    return 0;
  }
  std::cout << name << " is wrong: " << Count(report.errors.size(), "error") << ", " << warnings << "\n";
  return 1;
}

int ReportValues(const absl::StatusOr<ConfigValues>& values) {
  if (!values.ok()) {
    std::cerr << "Error: " << MessageOf(values.status()) << "\n";
    return 1;
  }
  for (const std::string& warning : values->warnings) std::cerr << "warning: " << warning << "\n";
  std::cout << values->yaml;
  return 0;
}

int ReportKeys(const config::Description& description) {
  for (const config::KeyDescription& key : description.keys) {
    std::cout << key.path << "\t" << key.kind << "\t" << key.value << "\t" << absl::StrJoin(key.older, " ") << "\n";
  }
  return 0;
}

}  // namespace dragonfly::cli
