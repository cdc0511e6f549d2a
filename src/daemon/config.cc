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

absl::Status ResolveSchedulerAddrs(const std::string& dynconfig_path, LoadedConfig& loaded) {
  DaemonConfig& config = loaded.config;
  if (!config.scheduler.addrs.empty()) {
    if (!config.manager.addr.empty()) {
      loaded.warnings.push_back(
          StrCat("manager.addr ", config.manager.addr, " has no effect: scheduler.addrs names the schedulers"));
    }
    return absl::OkStatus();
  }
  if (!config.manager.addr.empty()) {
    return absl::UnimplementedError(
        StrCat("manager.addr ", config.manager.addr,
               ": this dfdaemon cannot ask a manager for its schedulers; list them in scheduler.addrs"));
  }

  std::string addr = "dragonfly-scheduler:8002";
  std::vector<std::string> addrs;
  auto read = config::LoadFile(dynconfig_path, config::Dialect::kRust, [&](Section& root) {
    root.Sub("scheduler", [&](Section& scheduler) {
      scheduler.String("addr", &addr);
      scheduler.Strings("addrs", &addrs);
      CheckAddrs(scheduler, "addr", {addr});
      CheckAddrs(scheduler, "addrs", addrs);
    });
    for (const char* key : {"clientConfig", "seedClientConfig"}) {
      if (root.Has(key)) {
        loaded.warnings.push_back(StrCat(dynconfig_path, ": ", key, ": has no effect: block lists are not applied"));
      }
      root.Ignore(key);
    }
  });
  if (absl::IsNotFound(read.status())) {
    return absl::FailedPreconditionError(StrCat(
        "no scheduler is configured: set scheduler.addrs in dfdaemon.yaml, or scheduler.addr in ", dynconfig_path));
  }
  if (!read.ok()) return std::move(read).status();
  loaded.warnings.insert(loaded.warnings.end(), read->warnings.begin(), read->warnings.end());
  config.scheduler.addrs = addrs.empty() ? std::vector<std::string>{addr} : std::move(addrs);
  return absl::OkStatus();
}

}  // namespace dragonfly::daemon
