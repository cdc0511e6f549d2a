// SPDX-License-Identifier: Apache-2.0
// Decides who downloads from whom. Command line: dragonfly v2.3.0, cmd/scheduler/cmd/root.go.
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
#include "runtime/io_threads.h"
#include "runtime/process.h"
#include "scheduler/config.h"
#include "scheduler/scheduler.h"
#include "telemetry/log.h"
#include "telemetry/log_level.h"

namespace dragonfly {
namespace {

constexpr char kDefaultConfig[] = "/etc/dragonfly/scheduler.yaml";
// How long open streams may go on after a signal.
constexpr std::chrono::seconds kShutdownTimeout{25};

constexpr char kDescription[] =
    "The scheduler of a Dragonfly cluster: tells every peer that downloads a file which peers to take it from, and "
    "which one reads it from the origin.";

constexpr char kFooter[] =
    "\nFiles:\n"
    "  /etc/dragonfly/scheduler.yaml   configuration; may be missing, every key has a default\n"
    "  /etc/dragonfly/dynconfig.yaml   limits and applications of a cluster without a manager; may be missing\n"
    "  /var/cache/dragonfly/dynconfig  what the manager said last, for a start without it\n"
    "  /var/log/dragonfly/scheduler    scheduler.log and its predecessors\n"
    "\nEnvironment:\n"
    "  SCHEDULER_CONFIG            what --config says, when it is not given\n"
    "  SCHEDULER_<KEY>             a key of the configuration, in capitals and with _ for each dot:\n"
    "                              SCHEDULER_SERVER_PORT for server.port; wins over the file\n"
    "  OTEL_*                      how traces are exported, as for any program with OpenTelemetry\n"
    "\nSignals:\n"
    "  SIGTERM, SIGINT, SIGQUIT  stop: no new peers, open conversations may end within 25 seconds; a second signal "
    "ends\n"
    "                            the process at once\n"
    "  SIGUSR1                   the next level of the log: debug, info, warn, error, and debug again\n"
    "\nExit status:\n"
    "  0  stopped by a signal; the configuration is good\n"
    "  1  could not start: wrong configuration, a port in use\n"
    "  2  wrong command line\n"
    "\nExamples:\n"
    "  scheduler --config scheduler.yaml --console\n"
    "  scheduler config check scheduler.yaml           everything that is wrong with the file, and on this host\n"
    "  scheduler config print > all.yaml               every key with the value that is in effect\n";

struct Options {
  cli::ServerOptions server;
  std::string dynconfig = "/etc/dragonfly/dynconfig.yaml";
};

std::optional<int> Parse(std::vector<std::string> arguments, Options& options) {
  CLI::App app(kDescription, "scheduler");
  app.footer(kFooter);
  cli::AddServerOptions(app, "scheduler", options.server);
  app.add_option("--dynconfig", options.dynconfig, "Limits and applications, when there is no manager")
      ->type_name("PATH")
      ->capture_default_str();
  return cli::ParseCommandLine(app, std::move(arguments));
}

int Fail(std::string_view what) {
  std::cerr << "Error: " << what << "\n";
  return 1;
}

absl::Status SetUpLog(const cli::ServerOptions& options, const scheduler::SchedulerConfig& config) {
  cli::ServerLog file;
  file.level = config.server.log_level;
  file.dir = config.server.log_dir;
  file.size_max = config.server.log_size_max;
  file.files_max = config.server.log_files_max;
  file.console = config.console;
  return log::Setup(cli::LogOptionsOf("scheduler", options, file));
}

int Run(const Options& options) {
  auto loaded = scheduler::LoadSchedulerConfig(options.server.ConfigPath(), &std::getenv);
  if (!loaded.ok()) return Fail(MessageOf(loaded.status()));
  loaded->config.dynconfig.path = options.dynconfig;
  const absl::Status logging = SetUpLog(options.server, loaded->config);
  if (!logging.ok()) return Fail(MessageOf(logging));
  for (const std::string& warning : loaded->warnings) DF_LOG(Warn, "{}", warning);

  // Before any thread exists, so that all of them leave the signals to Wait().
  runtime::StopSignals signals(/*user_signal=*/true);
  runtime::RaiseFileLimit();
  runtime::IoThreads io;
  const auto started = scheduler::Scheduler::Start(loaded->config, io);
  if (!started.ok()) {
    DF_LOG(Error, "start: {}", MessageOf(started.status()));
    log::Flush();
    return Fail(MessageOf(started.status()));
  }
  DF_LOG(Info, "serving on port {}", (*started)->port());

  const int signal = signals.Wait([] {
    const log::Level level = log::NextLevel();
    // At the new level, so that it is seen at every one.
    log::Write(level, "main.cc", __LINE__, "SIGUSR1: the level of the log is this one from now on");
  });
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
  dragonfly::Options options;
  options.server.default_config = dragonfly::kDefaultConfig;
  if (const auto exit_code = dragonfly::Parse(std::vector<std::string>(argv + 1, argv + argc), options)) {
    return *exit_code;
  }
  if (options.server.version) {
    dragonfly::cli::PrintServerVersion();
    return 0;
  }
  using Kind = dragonfly::cli::ConfigCommand::Kind;
  switch (options.server.config_command.kind) {
    case Kind::kNone:
      return dragonfly::Run(options);
    case Kind::kCheck:
      return dragonfly::CheckConfig(options.server);
    case Kind::kPrint:
      return dragonfly::PrintConfig(options.server);
    case Kind::kKeys:
      return dragonfly::PrintConfigKeys();
  }
}
