// SPDX-License-Identifier: Apache-2.0
#include "config_command.h"

#include <algorithm>
#include <iostream>
#include <string_view>
#include <utility>
#include <vector>

#include "base/status.h"
#include "base/text.h"
#include "cli/config_command.h"
#include "config/section.h"
#include "daemon/config.h"
#include "daemon/config_host.h"
#include "daemon/host_info.h"
#include "runtime/local_address.h"

namespace dragonfly {
namespace {

// A wrong value leaves the default in its place, and the default's own problems are none of the file's.
bool HasErrorAt(const std::vector<std::string>& errors, std::string_view problem) {
  const std::string at = StrCat(": ", problem.substr(0, problem.find(':')));
  return std::ranges::any_of(errors, [&](const std::string& error) { return error.find(at) != std::string::npos; });
}

}  // namespace

int CheckConfig(const std::string& path, const std::string& dynconfig, bool file_only) {
  daemon::LoadedConfig loaded;
  config::LoadReport report = daemon::CheckDaemonConfig(path, loaded.config);
  loaded.warnings = std::move(report.warnings);
  if (!file_only) {
    for (const std::string& problem : daemon::CheckHost(loaded.config)) {
      if (!HasErrorAt(report.errors, problem)) report.errors.push_back(StrCat(path, ": ", problem));
    }
    const absl::Status resolved = daemon::ResolveSchedulerAddrs(dynconfig, loaded);
    if (!resolved.ok() && report.errors.empty()) report.errors.emplace_back(MessageOf(resolved));
  }
  report.warnings = std::move(loaded.warnings);
  return cli::ReportCheck(path, report);
}

int PrintConfig(const std::string& path, const std::string& dynconfig) {
  auto loaded = daemon::LoadDaemonConfig(path);
  if (!loaded.ok()) {
    std::cout << "Load config " << path << " error: " << MessageOf(loaded.status()) << "\n";
    return 1;
  }
  const absl::Status resolved = daemon::ResolveSchedulerAddrs(dynconfig, *loaded);
  if (!resolved.ok()) loaded->warnings.emplace_back(MessageOf(resolved));
  daemon::DaemonConfig& config = loaded->config;
  if (config.host.hostname.empty()) config.host.hostname = runtime::SystemHostname().value_or("");
  if (config.host.ip.empty()) {
    const auto address = runtime::FindLocalAddress(config.network.enable_ipv6);
    if (address.ok()) config.host.ip = address->ip;
  }
  cli::ConfigValues values;
  values.yaml = daemon::DescribeDaemonConfig(config).yaml;
  values.warnings = std::move(loaded->warnings);
  return cli::ReportValues(values);
}

int PrintConfigKeys() { return cli::ReportKeys(daemon::DescribeDaemonConfig(daemon::DaemonConfig())); }

}  // namespace dragonfly
