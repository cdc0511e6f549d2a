// SPDX-License-Identifier: Apache-2.0
#include "cli/dfinit/plan.h"

#include <algorithm>
#include <utility>

#include "base/status.h"
#include "base/text.h"
#include "cli/dfinit/marked_text.h"

namespace dragonfly::cli {
namespace {

std::string_view WithoutLineEnd(std::string_view text) {
  while (text.ends_with('\n') || text.ends_with('\r')) text.remove_suffix(1);
  return text;
}

// CRI-O and Podman may share a file, whose lines are then written for both at once.
struct SharedRegistries {
  RegistriesConfig registries;
  std::string_view service;  // Podman has none: each command reads the file
};

std::vector<SharedRegistries> ByFile(const DfinitConfig& config) {
  std::vector<SharedRegistries> all;
  if (config.crio) all.push_back({*config.crio, "crio"});
  if (!config.podman) return all;
  if (all.empty() || all.front().registries.config_path != config.podman->config_path) {
    all.push_back({*config.podman, ""});
    return all;
  }
  RegistriesConfig& shared = all.front().registries;
  for (const MirroredRegistry& registry : config.podman->registries) {
    const bool known = std::any_of(shared.registries.begin(), shared.registries.end(),
                                   [&](const MirroredRegistry& other) { return other.prefix == registry.prefix; });
    if (!known) shared.registries.push_back(registry);
  }
  if (!shared.unqualified_search_registries) {
    shared.unqualified_search_registries = config.podman->unqualified_search_registries;
  }
  return all;
}

}  // namespace

std::set<std::string> Plan::Restarts() const {
  std::set<std::string> services;
  for (const FileChange& change : files.Changes()) {
    for (const auto& [path, service] : read_at_start) {
      if (path == change.path) services.insert(service);
    }
  }
  return services;
}

absl::Status PlanInstall(const DfinitConfig& config, Plan& plan) {
  if (config.containerd) DF_RETURN_IF_ERROR(PlanContainerd(*config.containerd, config.proxy_addr, plan));
  if (config.docker) DF_RETURN_IF_ERROR(PlanDocker(*config.docker, config.proxy_host_port, plan));
  const MirrorAddress mirror{config.proxy_host_port, config.proxy_addr.starts_with("http://")};
  for (const SharedRegistries& shared : ByFile(config)) {
    DF_RETURN_IF_ERROR(PlanRegistries(shared.registries, mirror, shared.service, plan));
  }
  return absl::OkStatus();
}

absl::Status PlanUninstall(const DfinitConfig& config, Plan& plan) {
  if (config.containerd) DF_RETURN_IF_ERROR(PlanContainerdUninstall(*config.containerd, plan));
  if (config.docker) DF_RETURN_IF_ERROR(PlanDockerUninstall(*config.docker, config.proxy_host_port, plan));
  for (const SharedRegistries& shared : ByFile(config)) {
    DF_RETURN_IF_ERROR(PlanRegistriesUninstall(shared.registries, shared.service, plan));
  }
  return absl::OkStatus();
}

absl::Status PlanWithoutMarked(const std::string& path, Plan& plan) {
  DF_ASSIGN_OR_RETURN(const std::optional<std::string> current, plan.files.Read(path));
  if (!current || !HasMarked(*current)) return absl::OkStatus();
  DF_ASSIGN_OR_RETURN(std::string without, WithoutMarked(*current, path));
  DF_ASSIGN_OR_RETURN(const std::optional<std::string> original, plan.files.Read(HostFiles::OriginalOf(path)));
  if (!original) {
    std::optional<std::string> rest;
    if (!TrimSpace(without).empty()) rest = std::move(without);
    return plan.files.Write(path, std::move(rest));
  }
  // Its last line may have had no end.
  if (WithoutLineEnd(without) == WithoutLineEnd(*original)) without = *original;
  DF_RETURN_IF_ERROR(plan.files.Write(path, std::move(without)));
  return plan.files.Write(HostFiles::OriginalOf(path), std::nullopt);
}

}  // namespace dragonfly::cli
