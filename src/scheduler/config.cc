// SPDX-License-Identifier: Apache-2.0
#include "scheduler/config.h"

#include <unistd.h>

#include <cerrno>
#include <cstring>
#include <filesystem>

#include "absl/strings/ascii.h"
#include "base/status.h"
#include "base/text.h"
#include "config/section.h"
#include "rpc/tls_files.h"
#include "scheduler/config_reader.h"

namespace dragonfly::scheduler {
namespace {

using config::Section;

std::vector<config::Override> OverridesIn(const GetEnvironment& get) {
  std::vector<config::Override> overrides;
  for (const config::KeyDescription& key : DescribeSchedulerConfig(SchedulerConfig()).keys) {
    if (key.kind == "names to texts") continue;
    const std::string name = EnvironmentNameOf(key.path);
    const char* const value = get(name.c_str());
    if (value != nullptr && *value != '\0') overrides.push_back({name, key.path, value});
  }
  return overrides;
}

}  // namespace

std::string EnvironmentNameOf(std::string_view key) {
  std::string name = "SCHEDULER_";
  for (const char c : key) {
    const auto byte = static_cast<unsigned char>(c);
    name += absl::ascii_isalnum(byte) ? absl::ascii_toupper(byte) : '_';
  }
  return name;
}

absl::StatusOr<LoadedSchedulerConfig> LoadSchedulerConfig(const std::string& path, const GetEnvironment& get) {
  LoadedSchedulerConfig loaded;
  DF_ASSIGN_OR_RETURN(config::LoadResult result,
                      config::LoadFile(path, OverridesIn(get), config::Dialect::kGo,
                                       [&](Section& root) { ReadConfig(root, loaded.config); }));
  loaded.warnings = std::move(result.warnings);
  return loaded;
}

absl::StatusOr<LoadedSchedulerConfig> ParseSchedulerConfig(std::string_view text, std::string_view file_name) {
  LoadedSchedulerConfig loaded;
  DF_ASSIGN_OR_RETURN(
      config::LoadResult result,
      config::LoadText(text, file_name, config::Dialect::kGo, [&](Section& root) { ReadConfig(root, loaded.config); }));
  loaded.warnings = std::move(result.warnings);
  return loaded;
}

config::LoadReport CheckSchedulerConfig(const std::string& path, const GetEnvironment& get, SchedulerConfig& config) {
  return config::CheckFile(path, OverridesIn(get), config::Dialect::kGo,
                           [&](Section& root) { ReadConfig(root, config); });
}

config::Description DescribeSchedulerConfig(SchedulerConfig config) {
  return config::Describe([&](Section& root) { DescribeConfig(root, config); }, config::Dialect::kGo);
}

std::vector<std::string> CheckHost(const SchedulerConfig& config) {
  std::vector<std::string> problems;
  for (const auto& [section, tls] : {std::pair{"server.tls", &config.server.tls},
                                     {"manager.tls", &config.manager.tls},
                                     {"seedPeer.tls", &config.seed_peer.tls},
                                     {"peer.tls", &config.peer.tls}}) {
    rpc::TlsFiles files;
    files.ca_cert = tls->ca_cert;
    files.cert = tls->cert;
    files.key = tls->key;
    const absl::Status status = rpc::CheckTlsFiles(files);
    if (!status.ok()) problems.push_back(StrCat(section, ": ", MessageOf(status)));
  }
  if (!config.console) {
    std::error_code ignored;
    std::filesystem::path existing = config.server.log_dir;
    while (!std::filesystem::exists(existing, ignored) && existing.has_relative_path()) {
      existing = existing.parent_path();
    }
    if (::access(existing.c_str(), W_OK | X_OK) != 0) {
      problems.push_back(StrCat("server.logDir: cannot write in ", existing.string(), ": ", std::strerror(errno)));
    }
  }
  return problems;
}

}  // namespace dragonfly::scheduler
