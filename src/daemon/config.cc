// SPDX-License-Identifier: Apache-2.0
#include "daemon/config.h"

#include <utility>

#include "absl/status/status.h"
#include "base/status.h"
#include "base/text.h"
#include "config/section.h"
#include "daemon/config_reader.h"

namespace dragonfly::daemon {

using config::Section;

absl::StatusOr<LoadedConfig> LoadDaemonConfig(const std::string& path) {
  LoadedConfig loaded;
  DF_ASSIGN_OR_RETURN(config::LoadResult result, config::LoadFile(path, config::Dialect::kRust, [&](Section& root) {
                        ReadConfig(root, loaded.config);
                      }));
  loaded.warnings = std::move(result.warnings);
  return loaded;
}

absl::StatusOr<LoadedConfig> ParseDaemonConfig(std::string_view text, std::string_view file_name) {
  LoadedConfig loaded;
  DF_ASSIGN_OR_RETURN(config::LoadResult result,
                      config::LoadText(text, file_name, config::Dialect::kRust,
                                       [&](Section& root) { ReadConfig(root, loaded.config); }));
  loaded.warnings = std::move(result.warnings);
  return loaded;
}

config::LoadReport CheckDaemonConfig(const std::string& path, DaemonConfig& config) {
  return config::CheckFile(path, config::Dialect::kRust, [&](Section& root) { ReadConfig(root, config); });
}

config::Description DescribeDaemonConfig(DaemonConfig config) {
  return config::Describe([&](Section& root) { DescribeConfig(root, config); });
}

}  // namespace dragonfly::daemon
