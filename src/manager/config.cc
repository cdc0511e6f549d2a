// SPDX-License-Identifier: Apache-2.0
#include "manager/config.h"

#include <unistd.h>

#include <cerrno>
#include <cstring>
#include <filesystem>

#include "absl/strings/ascii.h"
#include "base/status.h"
#include "base/text.h"
#include "config/section.h"
#include "http/networks.h"
#include "manager/config_reader.h"
#include "rpc/tls_files.h"

namespace dragonfly::manager {
namespace {

using config::Section;

std::vector<config::Override> OverridesIn(const GetEnvironment& get) {
  std::vector<config::Override> overrides;
  for (const config::KeyDescription& key : DescribeManagerConfig(ManagerConfig()).keys) {
    if (key.kind == "names to texts") continue;
    const std::string name = EnvironmentNameOf(key.path);
    const char* const value = get(name.c_str());
    if (value != nullptr && *value != '\0') overrides.push_back({name, key.path, value});
  }
  return overrides;
}

// Whether files can be made in the directory, or in the nearest one above it that exists.
void CheckWritable(std::string_view key, const std::string& directory, std::vector<std::string>& problems) {
  std::error_code ignored;
  std::filesystem::path existing = directory;
  while (!std::filesystem::exists(existing, ignored) && existing.has_relative_path()) {
    existing = existing.parent_path();
  }
  if (::access(existing.c_str(), W_OK | X_OK) == 0) return;
  problems.push_back(StrCat(key, ": cannot write in ", existing.string(), ": ", std::strerror(errno)));
}

void CheckReadable(std::string_view key, const std::string& file, std::vector<std::string>& problems) {
  if (file.empty() || ::access(file.c_str(), R_OK) == 0) return;
  problems.push_back(StrCat(key, ": cannot read ", file, ": ", std::strerror(errno)));
}

}  // namespace

ManagerConfig::Job::Preheat::Preheat() : forbidden_networks(http::Networks::LinkLocalAndMetadata()) {}

std::string EnvironmentNameOf(std::string_view key) {
  std::string name = "MANAGER_";
  for (const char c : key) {
    const auto byte = static_cast<unsigned char>(c);
    name += absl::ascii_isalnum(byte) ? absl::ascii_toupper(byte) : '_';
  }
  return name;
}

absl::StatusOr<LoadedManagerConfig> LoadManagerConfig(const std::string& path, const GetEnvironment& get) {
  LoadedManagerConfig loaded;
  DF_ASSIGN_OR_RETURN(config::LoadResult result,
                      config::LoadFile(path, OverridesIn(get), config::Dialect::kGo,
                                       [&](Section& root) { ReadConfig(root, loaded.config); }));
  loaded.warnings = std::move(result.warnings);
  return loaded;
}

absl::StatusOr<LoadedManagerConfig> ParseManagerConfig(std::string_view text, std::string_view file_name) {
  LoadedManagerConfig loaded;
  DF_ASSIGN_OR_RETURN(
      config::LoadResult result,
      config::LoadText(text, file_name, config::Dialect::kGo, [&](Section& root) { ReadConfig(root, loaded.config); }));
  loaded.warnings = std::move(result.warnings);
  return loaded;
}

config::LoadReport CheckManagerConfig(const std::string& path, const GetEnvironment& get, ManagerConfig& config) {
  return config::CheckFile(path, OverridesIn(get), config::Dialect::kGo,
                           [&](Section& root) { ReadConfig(root, config); });
}

config::Description DescribeManagerConfig(ManagerConfig config) {
  return config::Describe([&](Section& root) { DescribeConfig(root, config); }, config::Dialect::kGo);
}

std::vector<std::string> CheckHost(const ManagerConfig& config) {
  std::vector<std::string> problems;
  for (const rpc::TlsFiles& files :
       {rpc::FilesOf(config.server.grpc.tls, "server.grpc.tls"), rpc::FilesOf(config.scheduler.tls, "scheduler.tls")}) {
    const absl::Status status = rpc::CheckTlsFiles(files);
    if (!status.ok()) problems.push_back(StrCat(files.section, ": ", MessageOf(status)));
  }
  CheckReadable("auth.jwt.keyFile", config.auth.jwt_key_file, problems);
  CheckReadable("database.mysql.passwordFile", config.database.mysql.password_file, problems);
  CheckReadable("database.postgres.passwordFile", config.database.postgres.password_file, problems);
  if (!config.console) CheckWritable("server.logDir", config.server.log_dir, problems);
  if (config.database.type == ManagerConfig::Database::Type::kSqlite) {
    CheckWritable("database.sqlite.path", std::filesystem::path(SqlitePathOf(config)).parent_path().string(), problems);
  }
  return problems;
}

std::string SqlitePathOf(const ManagerConfig& config) {
  if (!config.database.sqlite.path.empty()) return config.database.sqlite.path;
  return StrCat(config.server.data_dir, "/manager.db");
}

}  // namespace dragonfly::manager
