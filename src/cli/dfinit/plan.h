// SPDX-License-Identifier: Apache-2.0
// What dfinit does to the files of each container runtime.
#pragma once

#include <set>
#include <string>
#include <string_view>
#include <vector>

#include "absl/status/status.h"
#include "cli/dfinit/config.h"
#include "cli/dfinit/host_files.h"

namespace dragonfly::cli {

struct Plan {
  explicit Plan(std::string root) : files(std::move(root)) {}

  HostFiles files;
  // What the operator should know although nothing is wrong with the plan.
  std::vector<std::string> warnings;
  // Configuration files that their runtime reads only when it starts, with the name of its service.
  std::vector<std::pair<std::string, std::string>> read_at_start;

  // Services whose restart the changes need.
  std::set<std::string> Restarts() const;
};

// The whole of it. Errors name the file; see the functions below.
absl::Status PlanInstall(const DfinitConfig& config, Plan& plan);
// Takes out what PlanInstall() put in, also for registries that are no longer in the configuration.
absl::Status PlanUninstall(const DfinitConfig& config, Plan& plan);

// containerd: a hosts.toml for each registry, and config_path in config.toml where it is empty or absent. The format of
// config.toml is told by its `version`: 1 (also when it is absent), 2, or 3 and later. Sources: containerd's
// docs/hosts.md and docs/cri/registry.md; client v1.5.1 dragonfly-client-init/src/container_runtime/containerd.rs.
// Errors: NOT_FOUND without a config.toml; INVALID_ARGUMENT for what is no TOML; FAILED_PRECONDITION for settings that
// containerd refuses beside config_path, and for a layout that cannot be edited line by line.
absl::Status PlanContainerd(const ContainerdConfig& containerd, const std::string& proxy_addr, Plan& plan);
absl::Status PlanContainerdUninstall(const ContainerdConfig& containerd, Plan& plan);

// CRI-O and Podman: a mirror for each registry, first in the table that names the registry, else in a table of its own
// in a drop-in file. Source: containers-registries.conf(5). Errors as for containerd; the file may be missing.
struct MirrorAddress {
  std::string location;  // host:port
  bool insecure;         // plain HTTP
};
absl::Status PlanRegistries(const RegistriesConfig& registries, const MirrorAddress& mirror, std::string_view service,
                            Plan& plan);
absl::Status PlanRegistriesUninstall(const RegistriesConfig& registries, std::string_view service, Plan& plan);

// Docker: `proxies` of daemon.json. Source: docs.docker.com, "Daemon proxy configuration" (Docker 23 and later).
// Errors: INVALID_ARGUMENT for what is no JSON object; the file may be missing.
absl::Status PlanDocker(const DockerConfig& docker, const std::string& proxy_host_port, Plan& plan);
absl::Status PlanDockerUninstall(const DockerConfig& docker, const std::string& proxy_host_port, Plan& plan);

// Plans the file without its marked lines. Removes it when nothing else is in it and dfinit made it.
absl::Status PlanWithoutMarked(const std::string& path, Plan& plan);

}  // namespace dragonfly::cli
