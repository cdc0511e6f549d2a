// SPDX-License-Identifier: Apache-2.0
#include "config_command.h"

#include <algorithm>
#include <iostream>
#include <string_view>
#include <utility>
#include <vector>

#include "absl/strings/str_join.h"
#include "base/status.h"
#include "base/text.h"
#include "config/section.h"
#include "daemon/config.h"
#include "daemon/config_host.h"
#include "daemon/host_info.h"
#include "runtime/local_address.h"

namespace dragonfly {
namespace {

std::string Count(size_t count, std::string_view what) { return StrCat(count, " ", what, count == 1 ? "" : "s"); }

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
  for (const std::string& error : report.errors) std::cout << "error: " << error << "\n";
  for (const std::string& warning : loaded.warnings) std::cout << "warning: " << warning << "\n";
  const std::string warnings = Count(loaded.warnings.size(), "warning");
  if (report.errors.empty()) {
    std::cout << path << " is good, " << warnings << "\n";
    return 0;
  }
  std::cout << path << " is wrong: " << Count(report.errors.size(), "error") << ", " << warnings << "\n";
  return 1;
}

int PrintConfig(const std::string& path, const std::string& dynconfig) {
  auto loaded = daemon::LoadDaemonConfig(path);
  if (!loaded.ok()) {
    std::cout << "Load config " << path << " error: " << MessageOf(loaded.status()) << "\n";
    return 1;
  }
  const absl::Status resolved = daemon::ResolveSchedulerAddrs(dynconfig, *loaded);
  if (!resolved.ok()) loaded->warnings.emplace_back(MessageOf(resolved));
  for (const std::string& warning : loaded->warnings) std::cerr << "warning: " << warning << "\n";

  daemon::DaemonConfig& config = loaded->config;
  if (config.host.hostname.empty()) config.host.hostname = runtime::SystemHostname().value_or("");
  if (config.host.ip.empty()) {
    const auto address = runtime::FindLocalAddress(config.network.enable_ipv6);
    if (address.ok()) config.host.ip = address->ip;
  }
  std::cout << daemon::DescribeDaemonConfig(config).yaml;
  return 0;
}

int PrintConfigKeys() {
  for (const config::KeyDescription& key : daemon::DescribeDaemonConfig(daemon::DaemonConfig()).keys) {
    std::cout << key.path << "\t" << key.kind << "\t" << key.value << "\t" << absl::StrJoin(key.older, " ") << "\n";
  }
  return 0;
}

}  // namespace dragonfly
