// SPDX-License-Identifier: Apache-2.0
#include "config_command.h"

#include <cstdlib>
#include <iostream>
#include <string_view>
#include <utility>
#include <vector>

#include "absl/strings/str_join.h"
#include "base/status.h"
#include "base/text.h"
#include "config/section.h"
#include "runtime/local_address.h"
#include "scheduler/config.h"

namespace dragonfly {
namespace {

std::string Count(size_t count, std::string_view what) { return StrCat(count, " ", what, count == 1 ? "" : "s"); }

}  // namespace

int CheckConfig(const std::string& path, bool file_only) {
  scheduler::SchedulerConfig config;
  config::LoadReport report = scheduler::CheckSchedulerConfig(path, &std::getenv, config);
  const std::string name = path.empty() ? "the environment" : path;
  if (!file_only) {
    for (const std::string& problem : scheduler::CheckHost(config)) {
      report.errors.push_back(StrCat(name, ": ", problem));
    }
  }
  for (const std::string& error : report.errors) std::cout << "error: " << error << "\n";
  for (const std::string& warning : report.warnings) std::cout << "warning: " << warning << "\n";
  const std::string warnings = Count(report.warnings.size(), "warning");
  if (report.errors.empty()) {
    std::cout << name << " is good, " << warnings << "\n";
    return 0;
  }
  std::cout << name << " is wrong: " << Count(report.errors.size(), "error") << ", " << warnings << "\n";
  return 1;
}

int PrintConfig(const std::string& path) {
  auto loaded = scheduler::LoadSchedulerConfig(path, &std::getenv);
  if (!loaded.ok()) {
    std::cerr << "Error: " << MessageOf(loaded.status()) << "\n";
    return 1;
  }
  for (const std::string& warning : loaded->warnings) std::cerr << "warning: " << warning << "\n";
  scheduler::SchedulerConfig& config = loaded->config;
  if (config.server.host.empty()) config.server.host = runtime::SystemHostname().value_or("");
  if (config.server.advertise_ip.empty()) {
    const auto address = runtime::FindLocalAddress(config.enable_ipv6);
    if (address.ok()) config.server.advertise_ip = address->ip;
  }
  if (config.server.advertise_port == 0) config.server.advertise_port = config.server.port;
  std::cout << scheduler::DescribeSchedulerConfig(config).yaml;
  return 0;
}

int PrintConfigKeys() {
  for (const config::KeyDescription& key : scheduler::DescribeSchedulerConfig(scheduler::SchedulerConfig()).keys) {
    std::cout << key.path << "\t" << key.kind << "\t" << key.value << "\t" << absl::StrJoin(key.older, " ") << "\n";
  }
  return 0;
}

}  // namespace dragonfly
