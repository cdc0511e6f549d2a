// SPDX-License-Identifier: Apache-2.0
#include "cli/dfinit/options.h"

#include <CLI/CLI.hpp>
#include <utility>

#include "base/text.h"
#include "cli/command_line.h"

namespace dragonfly::cli {
namespace {

constexpr char kDescription[] =
    R"(Points the container runtimes of this host at its dfdaemon: containerd, Docker, CRI-O and Podman, as dfinit.yaml names
them. Changes only the lines that it must, and nothing when they are there already.)";

constexpr char kFooter[] = R"(What is written:
  containerd  <certs.d>/<registry>/hosts.toml for each registry, <certs.d>/_default/hosts.toml for all others, and
              config_path in config.toml (version 1, 2 or 3) when it names no directory
  docker      proxies in daemon.json
  crio,       a mirror first in the table of the registry; registries.conf.d/50-dragonfly.conf for registries without
  podman      a table

  Lines in TOML files stand between the comments dfinit-begin and dfinit-end, with what they replaced. A file that was
  there before is kept as <file>.before-dfinit until --uninstall.

Restarts:
  containerd reads config.toml, Docker daemon.json and CRI-O registries.conf when they start; hosts.toml and what Podman
  reads need no restart. With --restart a service is restarted only when such a file has changed. One that does not
  start again gets back the files that it had started with; where that fails, too, the next run restarts it.

Files:
  /etc/dragonfly/dfinit.yaml   configuration

Exit status:
  0  the files are as they should be; nothing is configured, too
  1  the configuration is not valid, a file cannot be read, edited or written, or a restart failed
  2  wrong usage

Examples:
  dfinit --dry-run
  dfinit --restart
  dfinit --root /host --restart --restart-command 'nsenter -t 1 -m -- systemctl restart'
  dfinit --uninstall --restart)";

bool SetVerbosity(std::string_view level, Verbosity& verbosity) {
  const std::string name = ToLowerAscii(level);
  if (name == "error" || name == "1") {
    verbosity = Verbosity::kNothing;
  } else if (name == "warn" || name == "2") {
    verbosity = Verbosity::kWarnings;
  } else if (name == "info" || name == "3" || name == "debug" || name == "4" || name == "trace" || name == "5") {
    verbosity = Verbosity::kChanges;
  } else {
    return false;
  }
  return true;
}

}  // namespace

ParsedDfinitOptions ParseDfinitOptions(std::vector<std::string> arguments) {
  ParsedDfinitOptions parsed;
  DfinitOptions& o = parsed.options;
  CLI::App app(kDescription, "dfinit");
  WrapHelp(app);
  app.footer(kFooter);
  app.set_version_flag("-V,--version", VersionText("dfinit"));
  app.add_option("-c,--config", o.config_path, "Configuration file (default /etc/dragonfly/dfinit.yaml)");
  app.add_flag("-n,--dry-run", o.dry_run,
               "Change nothing; print on standard output what would change, as diff -u does");
  app.add_flag("--uninstall", o.uninstall,
               "Take out of the runtimes' files what dfinit has put in; later changes by others stay");
  app.add_flag("--restart", o.restart, "Restart a runtime when a file that it reads only at its start has changed");
  app.add_option(
      "--restart-command", o.restart_command,
      "Program and arguments, without a shell; the name of the service is added (default systemctl restart)");
  app.add_option("--root", o.root, "Directory that holds the root of the host whose files are meant");
  app.add_option_function<std::string>(
      "-l,--log-level",
      [&](const std::string& level) {
        if (!SetVerbosity(level, o.verbosity)) {
          throw CLI::ValidationError(StrCat("invalid value '", level,
                                            "' for '--log-level <LOG_LEVEL>': it is trace, "
                                            "debug, info, warn or error"));
        }
      },
      "What to tell: changes with info (default), warnings with warn, only errors with error");
  app.add_flag("--console", o.console, "Tell it on standard output instead of standard error");
  std::string ignored;
  app.add_option("--log-dir", ignored, "Accepted for compatibility; dfinit keeps no log");
  app.add_option("--log-max-files", ignored, "Accepted for compatibility");
  parsed.exit_code = ParseCommandLine(app, std::move(arguments));
  while (o.root.ends_with('/')) o.root.pop_back();
  return parsed;
}

}  // namespace dragonfly::cli
