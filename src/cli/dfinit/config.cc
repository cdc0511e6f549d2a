// SPDX-License-Identifier: Apache-2.0
#include "cli/dfinit/config.h"

#include <utility>

#include "base/status.h"
#include "base/text.h"
#include "base/url.h"
#include "config/section.h"

namespace dragonfly::cli {
namespace {

using config::Section;

std::string WithoutTrailingSlashes(std::string text) {
  while (text.ends_with('/')) text.pop_back();
  return text;
}

// What is wrong with `text` as scheme://host[:port], maybe with a path.
std::optional<std::string> WrongHttpAddress(const std::string& text) {
  const auto url = Url::Parse(text);
  if (!url.ok()) return std::string(MessageOf(url.status()));
  if ((url->scheme != "http" && url->scheme != "https") || url->host.empty()) {
    return StrCat(Quoted(text), " is no http or https URL of a host");
  }
  if (!url->username.empty() || !url->password.empty()) return "must not hold credentials";
  if (url->has_query || url->has_fragment) return StrCat(Quoted(text), " must end behind its path");
  return std::nullopt;
}

std::optional<std::string> WrongProxyAddress(const std::string& text) {
  if (auto wrong = WrongHttpAddress(text)) return wrong;
  if (Url::Parse(text)->path != "/") return StrCat(Quoted(text), " must be scheme://host:port, without a path");
  return std::nullopt;
}

// The namespace names a directory below that of containerd's registries.
std::optional<std::string> WrongHostNamespace(const std::string& text) {
  constexpr std::string_view kAllowed = "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789._-:[]";
  if (text.empty()) return "is empty; it names a registry, as docker.io does";
  if (text.starts_with('.') || text.find_first_not_of(kAllowed) != std::string::npos) {
    return StrCat(Quoted(text), " is no host[:port]");
  }
  return std::nullopt;
}

// Of paths and names that are written into files as they are.
std::optional<std::string> WrongText(const std::string& text) {
  for (const char c : text) {
    if (static_cast<unsigned char>(c) < ' ' || c == '\x7f') return StrCat(Quoted(text), " holds a control character");
  }
  return std::nullopt;
}

std::optional<std::string> WrongPath(const std::string& text) {
  if (!text.starts_with('/')) return StrCat(Quoted(text), " is no absolute path");
  return WrongText(text);
}

void ReadContainerd(Section& section, ContainerdConfig& containerd) {
  section.String("configPath", &containerd.config_path, {.check = WrongPath});
  section.Bool("proxyAllRegistries", &containerd.proxy_all_registries);
  section.List("registries", &containerd.registries, [](Section& entry, ContainerdRegistry& registry) {
    entry.String("hostNamespace", &registry.host_namespace, {.check = WrongHostNamespace});
    entry.String("serverAddr", &registry.server_addr, {.check = WrongHttpAddress});
    entry.Strings("capabilities", &registry.capabilities, {.one_of = {"pull", "resolve", "push"}});
    entry.Strings("ca", &registry.ca, {.check = WrongText});
    if (entry.Has("skipVerify")) registry.skip_verify = false;
    bool skip_verify = false;
    entry.Bool("skipVerify", &skip_verify);
    if (registry.skip_verify) registry.skip_verify = skip_verify;
    if (!entry.Has("hostNamespace")) entry.Fail("hostNamespace", "is missing");
    if (!entry.Has("serverAddr")) entry.Fail("serverAddr", "is missing");
    registry.server_addr = WithoutTrailingSlashes(registry.server_addr);
  });
}

void ReadRegistries(Section& section, RegistriesConfig& registries) {
  section.String("configPath", &registries.config_path, {.check = WrongPath});
  section.Strings("unqualifiedSearchRegistries", &registries.unqualified_search_registries, {.check = WrongText});
  section.List("registries", &registries.registries, [](Section& entry, MirroredRegistry& registry) {
    entry.String("prefix", &registry.prefix, {.check = WrongText});
    entry.String("location", &registry.location, {.check = WrongText});
    if (registry.prefix.empty()) registry.prefix = registry.location;
    if (registry.location.empty() && !registry.prefix.starts_with("*.")) registry.location = registry.prefix;
    if (registry.prefix.empty()) entry.Fail("prefix", "is missing");
  });
}

void ReadConfig(Section& root, DfinitConfig& config) {
  root.Sub("proxy", [&](Section& proxy) { proxy.String("addr", &config.proxy_addr, {.check = WrongProxyAddress}); });
  root.Sub("containerRuntime", [&](Section& runtimes) {
    runtimes.Sub("containerd", &config.containerd, ReadContainerd);
    runtimes.Sub("docker", &config.docker, [](Section& section, DockerConfig& docker) {
      section.String("configPath", &docker.config_path, {.check = WrongPath});
    });
    runtimes.Sub("crio", &config.crio, ReadRegistries);
    runtimes.Sub("podman", &config.podman, ReadRegistries);
  });
}

absl::StatusOr<LoadedDfinitConfig> Finish(LoadedDfinitConfig loaded, absl::StatusOr<config::LoadResult> result) {
  DF_RETURN_IF_ERROR(result.status());
  loaded.warnings = std::move(result->warnings);
  loaded.config.proxy_addr = WithoutTrailingSlashes(loaded.config.proxy_addr);
  DF_ASSIGN_OR_RETURN(const Url url, Url::Parse(loaded.config.proxy_addr));
  loaded.config.proxy_host_port = StrCat(url.host, ":", url.effective_port());
  return loaded;
}

}  // namespace

absl::StatusOr<LoadedDfinitConfig> LoadDfinitConfig(const std::string& path) {
  LoadedDfinitConfig loaded;
  auto result = config::LoadFile(path, config::Dialect::kRust, [&](Section& root) { ReadConfig(root, loaded.config); });
  return Finish(std::move(loaded), std::move(result));
}

absl::StatusOr<LoadedDfinitConfig> ParseDfinitConfig(std::string_view text, std::string_view name) {
  LoadedDfinitConfig loaded;
  auto result =
      config::LoadText(text, name, config::Dialect::kRust, [&](Section& root) { ReadConfig(root, loaded.config); });
  return Finish(std::move(loaded), std::move(result));
}

}  // namespace dragonfly::cli
