// SPDX-License-Identifier: Apache-2.0
// The command line that manager and scheduler share. Source: dragonfly v2.3.0, cmd/dependency/dependency.go.
#pragma once

#include <cstdint>
#include <optional>
#include <string>
#include <string_view>

#include "cli/config_command.h"
#include "telemetry/log.h"

namespace dragonfly::cli {

struct ServerOptions {
  ServerOptions() = default;
  std::string default_config;         // where the file is when nobody names one; may be missing
  std::optional<std::string> config;  // one that was named must exist
  std::optional<bool> console;
  bool verbose = false;
  bool version = false;
  ConfigCommand config_command;

  // Empty: there is no file.
  std::string ConfigPath() const;
  // What messages call the configuration: the file, or "the environment".
  std::string ConfigName() const;
};

// Adds --config, --console, --verbose, and the commands version and config. `program` is its name; the variable
// <PROGRAM>_CONFIG stands for --config. `options`, with default_config set, must outlive the parsing.
void AddServerOptions(CLI::App& app, std::string_view program, ServerOptions& options);

// Prints the version as the original does.
void PrintServerVersion();

// How a configuration file says to log.
struct ServerLog {
  ServerLog() = default;
  std::string level, dir;
  uint64_t size_max = 0;  // MB
  uint64_t files_max = 0;
  bool console = false;
};
// The log of `program`: in `<dir>/<program>`, or on standard output; the command line wins over the file.
log::Options LogOptionsOf(std::string_view program, const ServerOptions& options, const ServerLog& file);

}  // namespace dragonfly::cli
