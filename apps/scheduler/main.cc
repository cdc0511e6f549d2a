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
  std::optional<std::string> config;
  std::string dynconfig = "/etc/dragonfly/dynconfig.yaml";
  bool console_given = false;
  bool console = false;
  bool verbose = false;

  enum class Command { kRun, kVersion, kCheckConfig, kPrintConfig, kPrintConfigKeys };
  Command command = Command::kRun;
  bool check_file_only = false;
};

void PrintVersion() {
  utsname machine{};
  uname(&machine);
  std::cout << "MajorVersion:\t2\nMinorVersion:\t3\nGitVersion:\tv" << kVersion << "\nGitCommit:\t" << GitCommit()
            << "\nPlatform:\tlinux/" << machine.machine << "\nBuildTime:\t" << BuildDate() << "\n";
}

// scheduler config ...
void AddConfigCommands(CLI::App& app, Options& options) {
  CLI::App* const config = app.add_subcommand("config", "Check or print the configuration, without starting anything");
  config->require_subcommand(1);
  config->footer("");
  CLI::App* const check = config->add_subcommand(
      "check",
      "Print every error and warning of a configuration file, of the environment, and of what they name on this host.\n"
      "Exit status 0: a scheduler would start with it; 1: it would not.");
  check->add_option("FILE", options.config, "Configuration file")->type_name("");
  check->add_flag("--file-only", options.check_file_only,
                  "Look at the file alone, not at the directories and certificates that it names");
  check->callback([&options] { options.command = Options::Command::kCheckConfig; });
  config
      ->add_subcommand("print", "Print the values in effect, as a file that loads again; secrets are replaced by stars")
      ->callback([&options] { options.command = Options::Command::kPrintConfig; });
  config
      ->add_subcommand("keys",
                       "Print all keys, a line each: key, kind of value, default, former names; between them a tab")
      ->callback([&options] { options.command = Options::Command::kPrintConfigKeys; });
}

std::optional<int> Parse(std::vector<std::string> arguments, Options& options) {
  CLI::App app(kDescription, "scheduler");
  app.footer(kFooter);
  app.fallthrough();
  app.add_option("--config", options.config, StrCat("Configuration file (default ", kDefaultConfig, ")"))
      ->envname("SCHEDULER_CONFIG")
      ->type_name("PATH");
  app.add_option("--dynconfig", options.dynconfig, "Limits and applications, when there is no manager")
      ->type_name("PATH")
      ->capture_default_str();
  CLI::Option* const console = app.add_flag("--console", options.console, "Log to standard output instead of files");
  app.add_flag("--verbose", options.verbose, "Log everything, also what is for debugging");
  app.add_subcommand("version", "Print the version and exit")->callback([&options] {
    options.command = Options::Command::kVersion;
  });
  AddConfigCommands(app, options);
  if (const auto exit_code = cli::ParseCommandLine(app, std::move(arguments))) return exit_code;
  options.console_given = console->count() > 0;
  return std::nullopt;
}

int Fail(std::string_view what) {
  std::cerr << "Error: " << what << "\n";
  return 1;
}

// The default file may be missing, one that was named must not. Empty: none.
std::string ConfigPath(const Options& options) {
  if (options.config.has_value()) return *options.config;
  std::error_code ignored;
  return std::filesystem::exists(kDefaultConfig, ignored) ? kDefaultConfig : "";
}

absl::Status SetUpLog(const Options& options, const scheduler::SchedulerConfig& config) {
  log::Options log;
  // Of the original's names, those above "error" leave the errors as well.
  const auto level = log::ParseLevel(config.server.log_level);
  log.level = options.verbose ? log::Level::kDebug : level.ok() ? *level : log::Level::kError;
  log.name = "scheduler";
  log.files_max = static_cast<size_t>(config.server.log_files_max);
  log.file_bytes_max = config.server.log_size_max << 20;
  log.console = options.console_given ? options.console : config.console;
  if (!log.console) log.dir = StrCat(config.server.log_dir, "/scheduler");
  return log::Setup(log);
}

int Run(const Options& options) {
  auto loaded = scheduler::LoadSchedulerConfig(ConfigPath(options), &std::getenv);
  if (!loaded.ok()) return Fail(MessageOf(loaded.status()));
  loaded->config.dynconfig.path = options.dynconfig;
  const absl::Status logging = SetUpLog(options, loaded->config);
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
  if (const auto exit_code = dragonfly::Parse(std::vector<std::string>(argv + 1, argv + argc), options)) {
    return *exit_code;
  }
  using Command = dragonfly::Options::Command;
  switch (options.command) {
    case Command::kRun:
      return dragonfly::Run(options);
    case Command::kVersion:
      dragonfly::PrintVersion();
      return 0;
    case Command::kCheckConfig:
      return dragonfly::CheckConfig(dragonfly::ConfigPath(options), options.check_file_only);
    case Command::kPrintConfig:
      return dragonfly::PrintConfig(dragonfly::ConfigPath(options));
    case Command::kPrintConfigKeys:
      return dragonfly::PrintConfigKeys();
  }
}
