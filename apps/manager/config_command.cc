// SPDX-License-Identifier: Apache-2.0
#include "config_command.h"

#include <cstdlib>
#include <string>
#include <utility>

#include "base/text.h"
#include "manager/config.h"

namespace dragonfly {

int CheckConfig(const cli::ServerOptions& options) {
  manager::ManagerConfig config;
  config::LoadReport report = manager::CheckManagerConfig(options.ConfigPath(), &std::getenv, config);
  if (!options.config_command.file_only) {
    for (const std::string& problem : manager::CheckHost(config)) {
      report.errors.push_back(StrCat(options.ConfigName(), ": ", problem));
    }
  }
  return cli::ReportCheck(options.ConfigName(), report);
}

int PrintConfig(const cli::ServerOptions& options) {
  auto loaded = manager::LoadManagerConfig(options.ConfigPath(), &std::getenv);
  if (!loaded.ok()) return cli::ReportValues(loaded.status());
  cli::ConfigValues values;
  values.yaml = manager::DescribeManagerConfig(loaded->config).yaml;
  values.warnings = std::move(loaded->warnings);
  return cli::ReportValues(values);
}

int PrintConfigKeys() { return cli::ReportKeys(manager::DescribeManagerConfig(manager::ManagerConfig())); }

}  // namespace dragonfly
