// SPDX-License-Identifier: Apache-2.0
// The peer on every host. Command line: client v1.0.0 and v1.5.1, dragonfly-client/src/bin/dfdaemon/main.rs.
#include <signal.h>

#include <CLI/CLI.hpp>
#include <cstdlib>
#include <iostream>
#include <string>
#include <string_view>
#include <vector>

#include "absl/strings/str_join.h"
#include "base/status.h"
#include "base/text.h"
#include "base/units.h"
#include "cli/command_line.h"
#include "cli/config_command.h"
#include "cli/failure_report.h"
#include "config_command.h"
#include "daemon/config.h"
#include "daemon/config_host.h"
#include "daemon/daemon.h"
#include "runtime/blocking_pool.h"
#include "runtime/io_threads.h"
#include "runtime/process.h"
#include "telemetry/log.h"

namespace dragonfly {
namespace {

struct Options {
  std::string config = "/etc/dragonfly/dfdaemon.yaml";
  std::string dynconfig = "/etc/dragonfly/dynconfig.yaml";
  std::string log_level = "info";
  std::string log_dir = "/var/log/dragonfly/dfdaemon";
  size_t log_max_files = 6;
  std::string log_max_file_size = "1GiB";
  bool console = false;
  bool log_dir_given = false;
  std::string shutdown_timeout = "25s";

  cli::ConfigCommand config_command;
};

constexpr char kDescription[] =
    "The peer of a Dragonfly cluster: fetches files for the programs of this host from other peers and from the\n"
    "origin, keeps them, and gives them to other peers. With seedPeer.enable in its configuration it is a seed peer.\n"
    "Without a subcommand it serves until a signal ends it.";

constexpr char kFooter[] =
    "\nFiles:\n"
    "  /etc/dragonfly/dfdaemon.yaml      configuration; every key has a default but the schedulers' addresses\n"
    "  /etc/dragonfly/dynconfig.yaml     where the schedulers are, when dfdaemon.yaml names none\n"
    "  /var/run/dragonfly/dfdaemon.sock  where dfget and other programs ask for files\n"
    "  /var/lib/dragonfly                the files, by task\n"
    "  /var/log/dragonfly/dfdaemon       dfdaemon.log and its predecessors\n"
    "\nEnvironment:\n"
    "  DFDAEMON_CONFIG, DFDAEMON_DYNCONFIG, DFDAEMON_LOG_LEVEL, DFDAEMON_LOG_DIR, DFDAEMON_LOG_MAX_FILES,\n"
    "  DFDAEMON_LOG_MAX_FILE_SIZE, DFDAEMON_CONSOLE, DFDAEMON_SHUTDOWN_TIMEOUT\n"
    "                              what the options of these names say; an option wins over its variable\n"
    "  RUST_LOG                    a level here wins over --log-level\n"
    "  POD_NAMESPACE, POD_NAME     the announced host name becomes <namespace>-<name>, unless host.hostname is set\n"
    "  HTTP_PROXY, HTTPS_PROXY, NO_PROXY\n"
    "                              proxies for requests to origins\n"
    "\nSignals:\n"
    "  SIGTERM, SIGINT, SIGQUIT  stop: no new work, running downloads may end until the shutdown timeout; a second\n"
    "                            signal ends the process at once\n"
    "\nExit status:\n"
    "  0  stopped by a signal; the configuration is good\n"
    "  1  could not start: wrong configuration, a port or a directory in use\n"
    "  2  wrong command line\n"
    "\nExamples:\n"
    "  dfdaemon --config dfdaemon.yaml --console     with  scheduler: {addrs: [\"10.0.0.1:8002\"]}  in the file\n"
    "  dfdaemon config check dfdaemon.yaml           everything that is wrong with the file, and on this host\n"
    "  dfdaemon config print > all.yaml              every key with the value that is in effect\n";

void AddConfigOption(CLI::App& app, Options& options) {
  app.add_option("-c,--config", options.config, "Configuration file")
      ->envname("DFDAEMON_CONFIG")
      ->type_name("PATH")
      ->capture_default_str();
}

// Parses the command line; an exit code when the program ends here.
std::optional<int> Parse(std::vector<std::string> arguments, Options& options) {
  CLI::App app(kDescription, "dfdaemon");
  app.footer(kFooter);
  app.set_version_flag("-V,--version", cli::VersionText("dfdaemon"), "Print the version and exit");
  AddConfigOption(app, options);
  app.add_option("--dynconfig", options.dynconfig, "File that names the schedulers when the configuration does not")
      ->envname("DFDAEMON_DYNCONFIG")
      ->type_name("PATH")
      ->capture_default_str();
  app.add_option("-l,--log-level", options.log_level,
                 "trace, debug, info, warn, error, or 5 to 1; RUST_LOG overrides it")
      ->envname("DFDAEMON_LOG_LEVEL")
      ->type_name("LEVEL")
      ->capture_default_str();
  CLI::Option* const log_dir =
      app.add_option("--log-dir", options.log_dir, "Directory of dfdaemon.log and its hourly predecessors")
          ->envname("DFDAEMON_LOG_DIR")
          ->type_name("PATH")
          ->capture_default_str();
  app.add_option("--log-max-files", options.log_max_files, "How many log files to keep")
      ->envname("DFDAEMON_LOG_MAX_FILES")
      ->check(CLI::Range(1, 10000))
      ->capture_default_str();
  app.add_flag("--console", options.console, "Log to standard output; to files as well only when --log-dir is given")
      ->envname("DFDAEMON_CONSOLE");
  app.add_option("--shutdown-timeout", options.shutdown_timeout, "How long running downloads may go on after a signal")
      ->envname("DFDAEMON_SHUTDOWN_TIMEOUT")
      ->type_name("DURATION")
      ->capture_default_str();
  std::string ignored;
  app.add_option("--log-max-file-size", options.log_max_file_size,
                 "A log file of this size is ended before the hour is")
      ->envname("DFDAEMON_LOG_MAX_FILE_SIZE")
      ->type_name("SIZE")
      ->capture_default_str();
  app.add_option("--lock-path", ignored, "Without effect: the storage directory is locked")->type_name("PATH");
  cli::AddConfigCommand(app, "dfdaemon", "directories, certificates and schedulers", options.config_command);
  options.config_command.check->add_option("FILE", options.config, "Configuration file")
      ->type_name("")
      ->capture_default_str();
  AddConfigOption(*options.config_command.print, options);
  if (const auto exit_code = cli::ParseCommandLine(app, std::move(arguments))) return exit_code;
  options.log_dir_given = log_dir->count() > 0;
  return std::nullopt;
}

int Fail(std::string_view what) {
  std::cerr << "Error: " << what << "\n";
  return 1;
}

int FailToLoad(const std::string& path, const absl::Status& error) {
  const bool color = cli::ColorWanted();
  const auto paint = [color](std::string_view code, std::string_view text) {
    return color ? StrCat("\033[", code, "m", text, "\033[0m") : std::string(text);
  };
  std::cout << paint("31;1", StrCat("Load config ", path, " error: ", MessageOf(error))) << "\n\n"
            << paint("33;1", "If the file does not exist, you need to new a default config file refer to: ")
            << paint("36;4;3", "docs/configuration.md") << "\n";
  return 1;
}

absl::Status SetUpLog(const Options& options) {
  log::Options log;
  const auto file_size = ParseByteSize(options.log_max_file_size);
  if (!file_size.ok()) return Annotate(file_size.status(), "--log-max-file-size");
  DF_ASSIGN_OR_RETURN(log.level, log::ParseLevel(options.log_level));
  if (const char* filter = std::getenv("RUST_LOG")) {
    if (const auto level = log::ParseFilter(filter)) log.level = *level;
  }
  log.name = "dfdaemon";
  log.files_max = options.log_max_files;
  log.file_bytes_max = *file_size;
  log.console = options.console;
  if (!options.console || options.log_dir_given) log.dir = options.log_dir;
  return log::Setup(log);
}

int Run(const Options& options) {
  const auto shutdown_timeout = ParseDuration(options.shutdown_timeout);
  if (!shutdown_timeout.ok()) return Fail(StrCat("--shutdown-timeout: ", MessageOf(shutdown_timeout.status())));

  auto loaded = daemon::LoadDaemonConfig(options.config);
  if (!loaded.ok()) return FailToLoad(options.config, loaded.status());
  const absl::Status resolved = daemon::ResolveSchedulerAddrs(options.dynconfig, *loaded);
  if (!resolved.ok()) return FailToLoad(options.config, resolved);
  const std::vector<std::string> problems = daemon::CheckHost(loaded->config);
  if (!problems.empty())
    return FailToLoad(options.config, absl::FailedPreconditionError(absl::StrJoin(problems, "\n")));
  const absl::Status logging = SetUpLog(options);
  if (!logging.ok()) return Fail(MessageOf(logging));
  for (const std::string& warning : loaded->warnings) DF_LOG(Warn, "{}", warning);

  // Before any thread exists, so that all of them leave the signals to Wait().
  runtime::StopSignals signals;
  runtime::RaiseFileLimit();
  runtime::IoThreads io;
  runtime::BlockingPool blocking(2 * io.size(), 4096);
  auto started = daemon::Daemon::Start(loaded->config, io, blocking);
  if (!started.ok()) {
    DF_LOG(Error, "start: {}", MessageOf(started.status()));
    log::Flush();
    return Fail(MessageOf(started.status()));
  }

  const int signal = signals.Wait();
  DF_LOG(Info, "signal {}: stopping", signal);
  const absl::Status stopped = (*started)->Stop(Clock::now() + absl::ToChronoNanoseconds(*shutdown_timeout));
  if (!stopped.ok()) DF_LOG(Warn, "stop: {}", MessageOf(stopped));
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
  using Kind = dragonfly::cli::ConfigCommand::Kind;
  switch (options.config_command.kind) {
    case Kind::kNone:
      return dragonfly::Run(options);
    case Kind::kCheck:
      return dragonfly::CheckConfig(options.config, options.dynconfig, options.config_command.file_only);
    case Kind::kPrint:
      return dragonfly::PrintConfig(options.config, options.dynconfig);
    case Kind::kKeys:
      return dragonfly::PrintConfigKeys();
  }
}
