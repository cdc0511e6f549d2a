// SPDX-License-Identifier: Apache-2.0
// Decides who downloads from whom. Command line: dragonfly v2.3.0, cmd/scheduler/cmd/root.go.
#include <sys/utsname.h>

#include <CLI/CLI.hpp>
#include <chrono>
#include <cstdlib>
#include <filesystem>
#include <iostream>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "base/status.h"
#include "base/text.h"
#include "base/version.h"
#include "cli/command_line.h"
#include "runtime/io_threads.h"
#include "runtime/process.h"
#include "scheduler/config.h"
#include "scheduler/scheduler.h"
#include "telemetry/log.h"

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
    "\nSignals:\n"
    "  SIGTERM, SIGINT, SIGQUIT  stop: no new peers, open conversations may end within 25 seconds; a second signal "
    "ends\n"
    "                            the process at once\n"
    "\nExit status:\n"
    "  0  stopped by a signal\n"
    "  1  could not start: wrong configuration, a port in use\n"
    "  2  wrong command line\n"
    "\nExample:\n"
    "  scheduler --config scheduler.yaml --console\n";

struct Options {
  std::optional<std::string> config;
  bool console = false;
  bool verbose = false;
  bool version = false;
};

void PrintVersion() {
  utsname machine{};
  uname(&machine);
  std::cout << "MajorVersion:\t2\nMinorVersion:\t3\nGitVersion:\tv" << kVersion << "\nGitCommit:\t" << GitCommit()
            << "\nPlatform:\tlinux/" << machine.machine << "\nBuildTime:\t" << BuildDate() << "\n";
}

std::optional<int> Parse(std::vector<std::string> arguments, Options& options) {
  CLI::App app(kDescription, "scheduler");
  app.footer(kFooter);
  app.fallthrough();
  app.add_option("--config", options.config, StrCat("Configuration file (default ", kDefaultConfig, ")"))
      ->envname("SCHEDULER_CONFIG");
  app.add_flag("--console", options.console, "Log to standard output instead of files");
  app.add_flag("--verbose", options.verbose, "Log everything, also what is for debugging");
  CLI::App* const version = app.add_subcommand("version", "Print the version and exit");
  if (const auto exit_code = cli::ParseCommandLine(app, std::move(arguments))) return exit_code;
  options.version = version->parsed();
  return std::nullopt;
}

int Fail(std::string_view what) {
  std::cerr << "Error: " << what << "\n";
  return 1;
}

// The default file may be missing, one that was named must not.
absl::StatusOr<scheduler::LoadedSchedulerConfig> Load(const Options& options) {
  if (options.config.has_value()) return scheduler::LoadSchedulerConfig(*options.config);
  std::error_code ignored;
  if (!std::filesystem::exists(kDefaultConfig, ignored)) return scheduler::LoadedSchedulerConfig();
  return scheduler::LoadSchedulerConfig(kDefaultConfig);
}

absl::Status SetUpLog(const Options& options, const scheduler::SchedulerConfig& config) {
  log::Options log;
  // Of the original's names, those above "error" leave the errors as well.
  const auto level = log::ParseLevel(config.server.log_level);
  log.level = options.verbose ? log::Level::kDebug : level.ok() ? *level : log::Level::kError;
  log.name = "scheduler";
  log.files_max = static_cast<size_t>(config.server.log_files_max);
  log.console = options.console || config.console;
  if (!log.console) log.dir = StrCat(config.server.log_dir, "/scheduler");
  return log::Setup(log);
}

int Run(const Options& options) {
  const auto loaded = Load(options);
  if (!loaded.ok()) return Fail(MessageOf(loaded.status()));
  const absl::Status logging = SetUpLog(options, loaded->config);
  if (!logging.ok()) return Fail(MessageOf(logging));
  for (const std::string& warning : loaded->warnings) DF_LOG(Warn, "{}", warning);

  // Before any thread exists, so that all of them leave the signals to Wait().
  runtime::StopSignals signals;
  runtime::RaiseFileLimit();
  runtime::IoThreads io;
  const auto started = scheduler::Scheduler::Start(loaded->config, io);
  if (!started.ok()) {
    DF_LOG(Error, "start: {}", MessageOf(started.status()));
    log::Flush();
    return Fail(MessageOf(started.status()));
  }
  DF_LOG(Info, "serving on port {}", (*started)->port());

  const int signal = signals.Wait();
  DF_LOG(Info, "signal {}: stopping", signal);
  (*started)->Stop(Clock::now() + kShutdownTimeout);
  log::Flush();
  return 0;
}

}  // namespace
}  // namespace dragonfly

int main(int argc, char** argv) {
  dragonfly::Options options;
  if (const auto exit_code = dragonfly::Parse(std::vector<std::string>(argv + 1, argv + argc), options)) {
    return *exit_code;
  }
  if (options.version) {
    dragonfly::PrintVersion();
    return 0;
  }
  return dragonfly::Run(options);
}
