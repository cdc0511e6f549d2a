// SPDX-License-Identifier: Apache-2.0
// Clusters, dynamic configuration, users and jobs. Command line: dragonfly v2.3.0, cmd/manager/cmd/root.go.
#include <CLI/CLI.hpp>
#include <chrono>
#include <cstdlib>
#include <iostream>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "base/status.h"
#include "base/text.h"
#include "cli/command_line.h"
#include "cli/server_options.h"
#include "config_command.h"
#include "manager/config.h"
#include "manager/manager.h"
#include "runtime/io_threads.h"
#include "runtime/process.h"
#include "telemetry/log.h"

namespace dragonfly {
namespace {

constexpr char kDefaultConfig[] = "/etc/dragonfly/manager.yaml";
// How long open streams may go on after a signal.
constexpr std::chrono::seconds kShutdownTimeout{25};

constexpr char kDescription[] =
    "The manager of Dragonfly clusters: tells schedulers and peers which cluster they belong to and how it is "
    "configured, and keeps users, tokens and jobs.";

constexpr char kFooter[] =
    "\nFiles:\n"
    "  /etc/dragonfly/manager.yaml     configuration; may be missing, every key has a default\n"
    "  /var/lib/dragonfly/manager.db   the embedded database, when no server is configured\n"
    "  /var/log/dragonfly/manager      manager.log and its predecessors\n"
    "\nEnvironment:\n"
    "  MANAGER_CONFIG            what --config says, when it is not given\n"
    "  MANAGER_<KEY>             a key of the configuration, in capitals and with _ for each dot:\n"
    "                            MANAGER_SERVER_REST_ADDR for server.rest.addr; wins over the file\n"
    "\nSignals:\n"
    "  SIGTERM, SIGINT, SIGQUIT  stop: open calls may end within 25 seconds; a second signal ends the process at once\n"
    "\nExit status:\n"
    "  0  stopped by a signal; the configuration is good\n"
    "  1  could not start: wrong configuration, a database that does not answer, a port in use\n"
    "  2  wrong command line\n"
    "\nExamples:\n"
    "  manager --console                           with a database of its own\n"
    "  manager config check manager.yaml           everything that is wrong with the file, and on this host\n"
    "  manager config print > all.yaml             every key with the value that is in effect\n";

std::optional<int> Parse(std::vector<std::string> arguments, cli::ServerOptions& options) {
  CLI::App app(kDescription, "manager");
  app.footer(kFooter);
  cli::AddServerOptions(app, "manager", options);
  return cli::ParseCommandLine(app, std::move(arguments));
}

int Fail(std::string_view what) {
  std::cerr << "Error: " << what << "\n";
  return 1;
}

absl::Status SetUpLog(const cli::ServerOptions& options, const manager::ManagerConfig& config) {
  cli::ServerLog file;
  file.level = config.server.log_level;
  file.dir = config.server.log_dir;
  file.size_max = config.server.log_size_max;
  file.files_max = config.server.log_files_max;
  file.console = config.console;
  return log::Setup(cli::LogOptionsOf("manager", options, file));
}

int Run(const cli::ServerOptions& options) {
  auto loaded = manager::LoadManagerConfig(options.ConfigPath(), &std::getenv);
  if (!loaded.ok()) return Fail(MessageOf(loaded.status()));
  const absl::Status logging = SetUpLog(options, loaded->config);
  if (!logging.ok()) return Fail(MessageOf(logging));
  for (const std::string& warning : loaded->warnings) DF_LOG(Warn, "{}", warning);

  // Before any thread exists, so that all of them leave the signals to Wait().
  runtime::StopSignals signals;
  runtime::RaiseFileLimit();
  runtime::IoThreads io;
  const auto started = manager::Manager::Start(loaded->config, io);
  if (!started.ok()) {
    DF_LOG(Error, "start: {}", MessageOf(started.status()));
    log::Flush();
    return Fail(MessageOf(started.status()));
  }
  DF_LOG(Info, "serving gRPC on port {}, REST on port {}", (*started)->grpc_port(), (*started)->rest_port());
  if (!(*started)->first_password().empty()) {
    // Not into the log: it would stay there.
    std::cout << "First start: sign in as user root with password " << (*started)->first_password()
              << "\nIt is not shown again.\n"
              << std::flush;
  }

  const int signal = signals.Wait();
  DF_LOG(Info, "signal {}: stopping", signal);
  (*started)->Stop(Clock::now() + kShutdownTimeout);
  log::Flush();
  return 0;
}

}  // namespace
}  // namespace dragonfly

int main(int argc, char** argv) {
  // gRPC would write to standard error what our own messages say better.
  setenv("GRPC_VERBOSITY", "NONE", /*overwrite=*/0);
  dragonfly::cli::ServerOptions options;
  options.default_config = dragonfly::kDefaultConfig;
  if (const auto exit_code = dragonfly::Parse(std::vector<std::string>(argv + 1, argv + argc), options)) {
    return *exit_code;
  }
  if (options.version) {
    dragonfly::cli::PrintServerVersion();
    return 0;
  }
  using Kind = dragonfly::cli::ConfigCommand::Kind;
  switch (options.config_command.kind) {
    case Kind::kNone:
      return dragonfly::Run(options);
    case Kind::kCheck:
      return dragonfly::CheckConfig(options);
    case Kind::kPrint:
      return dragonfly::PrintConfig(options);
    case Kind::kKeys:
      return dragonfly::PrintConfigKeys();
  }
}
