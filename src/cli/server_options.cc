// SPDX-License-Identifier: Apache-2.0
#include "cli/server_options.h"

#include <sys/utsname.h>

#include <CLI/CLI.hpp>
#include <filesystem>
#include <iostream>

#include "absl/strings/ascii.h"
#include "base/text.h"
#include "base/version.h"

namespace dragonfly::cli {

std::string ServerOptions::ConfigPath() const {
  if (config.has_value()) return *config;
  std::error_code ignored;
  return std::filesystem::exists(default_config, ignored) ? default_config : "";
}

std::string ServerOptions::ConfigName() const {
  const std::string path = ConfigPath();
  return path.empty() ? "the environment" : path;
}

void AddServerOptions(CLI::App& app, std::string_view program, ServerOptions& options) {
  app.fallthrough();
  app.add_option("--config", options.config, StrCat("Configuration file (default ", options.default_config, ")"))
      ->envname(StrCat(absl::AsciiStrToUpper(ToAbsl(program)), "_CONFIG"))
      ->type_name("PATH");
  app.add_flag("--console", options.console, "Log to standard output instead of files");
  app.add_flag("--verbose", options.verbose, "Log everything, also what is for debugging");
  app.add_subcommand("version", "Print the version and exit")->callback([&options] { options.version = true; });
  AddConfigCommand(app, program, "directories and certificates", options.config_command);
  options.config_command.check->add_option("FILE", options.config, "Configuration file")->type_name("");
}

void PrintServerVersion() {
  utsname machine{};
  uname(&machine);
  std::cout << "MajorVersion:\t2\nMinorVersion:\t3\nGitVersion:\tv" << kVersion << "\nGitCommit:\t" << GitCommit()
            << "\nPlatform:\tlinux/" << machine.machine << "\nBuildTime:\t" << BuildDate() << "\n";
}

log::Options LogOptionsOf(std::string_view program, const ServerOptions& options, const ServerLog& file) {
  log::Options log;
  // Of the original's names, those above "error" leave the errors as well.
  const auto level = log::ParseLevel(file.level);
  log.level = options.verbose ? log::Level::kDebug : level.ok() ? *level : log::Level::kError;
  log.name = std::string(program);
  log.files_max = static_cast<size_t>(file.files_max);
  log.file_bytes_max = file.size_max << 20;
  log.console = options.console.value_or(file.console);
  if (!log.console) log.dir = StrCat(file.dir, "/", program);
  return log;
}

}  // namespace dragonfly::cli
