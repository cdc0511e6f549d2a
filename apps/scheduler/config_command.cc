// SPDX-License-Identifier: Apache-2.0
#include "config_command.h"

#include <cstdlib>
#include <string>
#include <utility>

#include "base/text.h"
#include "runtime/local_address.h"
#include "scheduler/config.h"

namespace dragonfly {

int CheckConfig(const cli::ServerOptions& options) {
  scheduler::SchedulerConfig config;
  config::LoadReport report = scheduler::CheckSchedulerConfig(options.ConfigPath(), &std::getenv, config);
  if (!options.config_command.file_only) {
    for (const std::string& problem : scheduler::CheckHost(config)) {
      report.errors.push_back(StrCat(options.ConfigName(), ": ", problem));
    }
  }
  return cli::ReportCheck(options.ConfigName(), report);
}

int PrintConfig(const cli::ServerOptions& options) {
  auto loaded = scheduler::LoadSchedulerConfig(options.ConfigPath(), &std::getenv);
  if (!loaded.ok()) return cli::ReportValues(loaded.status());
  scheduler::SchedulerConfig& config = loaded->config;
  if (config.server.host.empty()) config.server.host = runtime::SystemHostname().value_or("");
  if (config.server.advertise_ip.empty()) {
    const auto address = runtime::FindLocalAddress(config.enable_ipv6);
    if (address.ok()) config.server.advertise_ip = address->ip;
  }
  if (config.server.advertise_port == 0) config.server.advertise_port = config.server.port;
  cli::ConfigValues values;
  values.yaml = scheduler::DescribeSchedulerConfig(loaded->config).yaml;
  values.warnings = std::move(loaded->warnings);
  return cli::ReportValues(values);
}

int PrintConfigKeys() { return cli::ReportKeys(scheduler::DescribeSchedulerConfig(scheduler::SchedulerConfig())); }

}  // namespace dragonfly
