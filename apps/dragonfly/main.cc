// SPDX-License-Identifier: Apache-2.0
#include <CLI/CLI.hpp>
#include <cstdlib>
#include <filesystem>
#include <iostream>
#include <string>
#include <vector>

#include "base/status.h"
#include "base/text.h"
#include "base/units.h"
#include "cli/command_line.h"
#include "standalone.h"

namespace dragonfly {
namespace {

constexpr char kDescription[] =
    "Dragonfly in one process. The command `standalone` runs a manager, a scheduler, a seed peer and a peer together: "
    "enough for a first look, for tests, and for a small site.";

constexpr char kStandaloneFooter[] =
    "\nWhat is where:\n"
    "  <data-dir>/dfdaemon.sock  where dfget asks for files (--endpoint)\n"
    "  <data-dir>/manager.db     clusters, users and jobs\n"
    "  <data-dir>/peer, seed     the files, by task\n"
    "  <data-dir>/log            dragonfly.log and its hourly predecessors\n"
    "\nSignals:\n"
    "  SIGTERM, SIGINT, SIGQUIT  stop: running downloads may end until the shutdown timeout; a second signal ends the\n"
    "                            process at once\n"
    "\nExit status:\n"
    "  0  stopped by a signal\n"
    "  1  could not start: a port or the directory in use\n"
    "  2  wrong command line\n"
    "\nExample:\n"
    "  dragonfly standalone --data-dir /tmp/dragonfly\n"
    "  dfget https://example.com/file -O /tmp/file --endpoint /tmp/dragonfly/dfdaemon.sock\n";

std::string DefaultDataDir() {
  if (const char* data = std::getenv("XDG_DATA_HOME"); data != nullptr && *data == '/')
    return StrCat(data, "/dragonfly");
  if (const char* home = std::getenv("HOME"); home != nullptr && *home == '/') {
    return StrCat(home, "/.local/share/dragonfly");
  }
  return "/var/lib/dragonfly/standalone";
}

int Run(std::vector<std::string> arguments) {
  CLI::App app(kDescription, "dragonfly");
  app.set_version_flag("-V,--version", cli::VersionText("dragonfly"), "Print the version and exit");
  app.require_subcommand(1);

  StandaloneOptions options;
  options.data_dir = DefaultDataDir();
  std::string shutdown_timeout = "25s";
  CLI::App* const standalone = app.add_subcommand("standalone", "Run a manager, a scheduler, a seed peer and a peer");
  standalone->footer(kStandaloneFooter);
  standalone->add_option("--data-dir", options.data_dir, "Directory of sockets, content and logs")
      ->capture_default_str();
  standalone->add_option("--ip", options.ip, "Address by which other hosts reach this one (default: found)")
      ->check(CLI::ValidIPV4);
  standalone->add_option("--manager-port", options.manager_port, "gRPC port of the manager; 0: any free one")
      ->capture_default_str();
  standalone->add_option("--rest-port", options.rest_port, "REST API of the manager; 0: any free port")
      ->capture_default_str();
  standalone->add_option("--scheduler-port", options.scheduler_port, "Port of the scheduler; 0: any free one")
      ->capture_default_str();
  standalone->add_option("--seed-port", options.seed_port, "gRPC port of the seed peer; 0: any free one")
      ->capture_default_str();
  standalone->add_option("--peer-port", options.peer_port, "gRPC port of the peer; 0: any free one")
      ->capture_default_str();
  standalone->add_option("--seed-metrics-port", options.seed_metrics_port, "Metrics of the seed peer; 0: any free port")
      ->capture_default_str();
  standalone->add_option("--peer-metrics-port", options.peer_metrics_port, "Metrics of the peer; 0: any free port")
      ->capture_default_str();
  standalone->add_option("--proxy-port", options.proxy_port, "HTTP proxy of the peer; 0: any free port")
      ->capture_default_str();
  standalone->add_flag("--temporary", options.temporary, "Forget the downloaded files at the next start");
  standalone->add_option("-l,--log-level", options.log_level, "trace, debug, info, warn, error, or 5 to 1")
      ->capture_default_str();
  standalone->add_flag("--console", options.console, "Log to standard output instead of files");
  standalone->add_option("--shutdown-timeout", shutdown_timeout, "How long running downloads may go on after a signal")
      ->capture_default_str();
  if (const auto exit_code = cli::ParseCommandLine(app, std::move(arguments))) return *exit_code;

  const auto timeout = ParseDuration(shutdown_timeout);
  if (!timeout.ok()) {
    std::cerr << "Error: --shutdown-timeout: " << MessageOf(timeout.status()) << "\n";
    return 1;
  }
  options.shutdown_timeout = *timeout;
  options.data_dir = std::filesystem::absolute(options.data_dir).lexically_normal().string();
  if (options.data_dir.size() > 1 && options.data_dir.ends_with('/')) options.data_dir.pop_back();
  return RunStandalone(options);
}

}  // namespace
}  // namespace dragonfly

int main(int argc, char** argv) {
  // gRPC would write to standard error what our own messages say better.
  setenv("GRPC_VERBOSITY", "NONE", /*overwrite=*/0);
  return dragonfly::Run(std::vector<std::string>(argv + 1, argv + argc));
}
