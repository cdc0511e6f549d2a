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
#include "manager/config.h"

namespace dragonfly {
namespace {

std::string Count(size_t count, std::string_view what) { return StrCat(count, " ", what, count == 1 ? "" : "s"); }

}  // namespace

int CheckConfig(const std::string& path, bool file_only) {
  manager::ManagerConfig config;
  config::LoadReport report = manager::CheckManagerConfig(path, &std::getenv, config);
  const std::string name = path.empty() ? "the environment" : path;
  if (!file_only) {
    for (const std::string& problem : manager::CheckHost(config)) {
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
  auto loaded = manager::LoadManagerConfig(path, &std::getenv);
  if (!loaded.ok()) {
    std::cerr << "Error: " << MessageOf(loaded.status()) << "\n";
    return 1;
  }
  for (const std::string& warning : loaded->warnings) std::cerr << "warning: " << warning << "\n";
  std::cout << manager::DescribeManagerConfig(loaded->config).yaml;
  return 0;
}

int PrintConfigKeys() {
  for (const config::KeyDescription& key : manager::DescribeManagerConfig(manager::ManagerConfig()).keys) {
    std::cout << key.path << "\t" << key.kind << "\t" << key.value << "\t" << absl::StrJoin(key.older, " ") << "\n";
  }
  return 0;
}

}  // namespace dragonfly
