// SPDX-License-Identifier: Apache-2.0
// dfinit's configuration: which container runtimes of this host go through the local dfdaemon. The original's file
// (client v1.0.0 to v1.5.1, dragonfly-client-config/src/dfinit.rs) loads unchanged; it handles only the first runtime
// that it finds in the file, this program all of them.
#pragma once

#include <optional>
#include <string>
#include <vector>

#include "absl/status/statusor.h"

namespace dragonfly::cli {

struct ContainerdRegistry {
  std::string host_namespace;  // "docker.io", "127.0.0.1:5000"
  std::string server_addr;     // "https://index.docker.io", without a slash at the end
  std::vector<std::string> capabilities = {"pull", "resolve"};
  std::optional<bool> skip_verify;
  std::vector<std::string> ca;  // paths of PEM files
};

struct ContainerdConfig {
  std::string config_path = "/etc/containerd/config.toml";
  bool proxy_all_registries = true;
  std::vector<ContainerdRegistry> registries;
};

struct DockerConfig {
  std::string config_path = "/etc/docker/daemon.json";
};

// One [[registry]] of containers-registries.conf(5).
struct MirroredRegistry {
  std::string prefix;
  std::string location;
};

// CRI-O's and Podman's.
struct RegistriesConfig {
  std::string config_path = "/etc/containers/registries.conf";
  std::optional<std::vector<std::string>> unqualified_search_registries;
  std::vector<MirroredRegistry> registries;
};

struct DfinitConfig {
  std::string proxy_addr = "http://127.0.0.1:4001";
  std::string proxy_host_port = "127.0.0.1:4001";  // of proxy_addr, with its default port where it names none
  std::optional<ContainerdConfig> containerd;
  std::optional<DockerConfig> docker;
  std::optional<RegistriesConfig> crio;
  std::optional<RegistriesConfig> podman;
};

struct LoadedDfinitConfig {
  DfinitConfig config;
  std::vector<std::string> warnings;  // "dfinit.yaml:12: unknown key proxy.foo"
};

// Errors: NOT_FOUND and others of reading the file; INVALID_ARGUMENT "<file>:<line>: <key>: <reason>", one a line,
// among them a proxy.addr that is no http(s) URL of a host, and a host namespace that would leave its directory.
absl::StatusOr<LoadedDfinitConfig> LoadDfinitConfig(const std::string& path);
// The same for `text`, which messages call `name`.
absl::StatusOr<LoadedDfinitConfig> ParseDfinitConfig(std::string_view text, std::string_view name);

}  // namespace dragonfly::cli
