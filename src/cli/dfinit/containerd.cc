// SPDX-License-Identifier: Apache-2.0
#include <algorithm>
#include <optional>
#include <utility>

#include "base/status.h"
#include "base/text.h"
#include "cli/dfinit/marked_text.h"
#include "cli/dfinit/plan.h"
#include "cli/dfinit/toml_text.h"

namespace dragonfly::cli {
namespace {

constexpr char kDefaultDirectory[] = "/etc/containerd/certs.d";
constexpr char kRegistryHeader[] = "X-Dragonfly-Registry";
// The directory that containerd takes for registries without one of their own.
constexpr char kAllRegistries[] = "_default";

// Keys of the table that holds config_path.
std::vector<std::string> RegistryTable(const TomlText& config) {
  // containerd takes a file without a version for the first one, whatever names of plugins are in it.
  const int64_t version = config.root()["version"].Integer().value_or(1);
  const char* const plugin = version >= 3   ? "io.containerd.cri.v1.images"
                             : version == 2 ? "io.containerd.grpc.v1.cri"
                                            : "cri";
  return {"plugins", plugin, "registry"};
}

TomlNode Find(TomlNode node, const std::vector<std::string>& keys) {
  for (const std::string& key : keys) node = node[key];
  return node;
}

// [a."b.c".d]
std::string Dotted(const std::vector<std::string>& keys) {
  std::string result;
  for (const std::string& key : keys) {
    const bool bare = key.find_first_not_of("abcdefghijklmnopqrstuvwxyz_") == std::string::npos;
    result += StrCat(result.empty() ? "" : ".", bare ? key : TomlString(key));
  }
  return result;
}

std::string FirstDirectory(const TomlNode& registry) {
  const std::string paths = registry["config_path"].String().value_or("");
  return paths.substr(0, paths.find(':'));
}

std::string IndentOf(std::string_view line) { return std::string(line.substr(0, line.find_first_not_of(" \t"))); }

// `line` with the value that begins and ends at these columns replaced.
std::string WithValue(std::string_view line, const TomlNode& value, std::string_view text) {
  // Columns count characters, and nothing before the value of a key in our path needs more than a byte for one.
  return StrCat(line.substr(0, value.first_column() - 1), text, line.substr(value.end_column() - 1));
}

// What containerd refuses to load beside config_path (ValidatePluginConfig in its pkg/cri/config).
absl::Status CheckNoOlderSettings(const TomlText& config, const TomlNode& registry) {
  const auto refuse = [&](const TomlNode& node, std::string_view what) {
    return absl::FailedPreconditionError(
        StrCat(config.name(), ":", node.first_line(), ": ", what,
               " of the registry is set, which containerd refuses beside config_path: move it to <registry>/hosts.toml "
               "files in ",
               kDefaultDirectory, " and run dfinit again"));
  };
  if (registry["mirrors"].size() > 0) return refuse(registry["mirrors"], "mirrors");
  for (const std::string& host : registry["configs"].Keys()) {
    const TomlNode tls = registry["configs"][host]["tls"];
    if (tls) return refuse(tls, "configs.*.tls");
  }
  return absl::OkStatus();
}

LineEdit SetConfigPath(const TomlText& config, const std::vector<std::string>& keys) {
  const TomlNode registry = Find(config.root(), keys);
  const std::string directory = TomlString(kDefaultDirectory);
  if (const TomlNode value = registry["config_path"]; value && value.first_line() == value.last_line()) {
    const size_t line = value.first_line();
    return {line, 1, {WithValue(config.Line(line), value, directory)}};
  }
  if (registry && config.IsHeaderOf(registry.first_line(), keys)) {
    const size_t header = registry.first_line();
    const std::string indent = IndentOf(config.Line(header));
    return {header + 1, 0, {StrCat(indent, indent.empty() ? "" : "  ", "config_path = ", directory)}};
  }
  return {config.line_count() + 1, 0, {"", StrCat("[", Dotted(keys), "]"), StrCat("config_path = ", directory)}};
}

// Plans config.toml and returns the directory of the registries' files.
absl::StatusOr<std::string> PlanConfigToml(const std::string& path, Plan& plan) {
  DF_ASSIGN_OR_RETURN(const std::optional<std::string> current, plan.files.Read(path));
  if (!current) {
    return absl::NotFoundError(
        StrCat(path, ": there is no such file; `containerd config default` prints one to begin with"));
  }
  DF_ASSIGN_OR_RETURN(std::string original, WithoutMarked(*current, path));
  DF_ASSIGN_OR_RETURN(const TomlText config, TomlText::Parse(std::move(original), path));
  for (const std::string& plugin : config.root()["disabled_plugins"].Strings().value_or(std::vector<std::string>())) {
    if (plugin == "cri" || plugin == "io.containerd.grpc.v1.cri") {
      plan.warnings.push_back(
          StrCat(path, ": disabled_plugins holds ", plugin,
                 ": Kubernetes cannot use this containerd; nerdctl and ctr read hosts.toml anyway"));
    }
  }
  const std::vector<std::string> keys = RegistryTable(config);
  const TomlNode registry = Find(config.root(), keys);
  const std::string directory = FirstDirectory(registry);
  if (!directory.empty()) {
    DF_RETURN_IF_ERROR(plan.files.Write(path, config.text()));
    return directory;
  }

  DF_RETURN_IF_ERROR(CheckNoOlderSettings(config, registry));
  const std::string key = StrCat(Dotted(keys), ".config_path");
  DF_ASSIGN_OR_RETURN(const TomlText edited,
                      CheckEdit(config, WithMarked(config.text(), {SetConfigPath(config, keys)}), {key},
                                StrCat("[", Dotted(keys), "] config_path = ", TomlString(kDefaultDirectory))));
  if (FirstDirectory(Find(edited.root(), keys)) != kDefaultDirectory) {
    return absl::FailedPreconditionError(StrCat(path, ": set ", key, " = ", TomlString(kDefaultDirectory), " by hand"));
  }
  plan.files.KeepOriginal(path);
  DF_RETURN_IF_ERROR(plan.files.Write(path, edited.text()));
  return kDefaultDirectory;
}

// The lines of a hosts.toml that lead to the proxy.
struct HostEntry {
  std::string namespace_name;
  std::optional<std::string> server;
  std::vector<std::string> capabilities;
  std::optional<bool> skip_verify;
  std::vector<std::string> ca;
};

std::vector<std::string> HostLines(const HostEntry& entry, const std::string& proxy_addr) {
  const std::string table = StrCat("host.", TomlString(proxy_addr));
  std::vector<std::string> lines = {StrCat("[", table, "]"),
                                    StrCat("capabilities = ", TomlStrings(entry.capabilities))};
  if (entry.skip_verify) lines.push_back(StrCat("skip_verify = ", *entry.skip_verify ? "true" : "false"));
  if (!entry.ca.empty()) lines.push_back(StrCat("ca = ", TomlStrings(entry.ca)));
  if (entry.server) {
    lines.insert(lines.end(),
                 {"", StrCat("[", table, ".header]"), StrCat(kRegistryHeader, " = ", TomlString(*entry.server))});
  }
  return lines;
}

// A text or a list of them, as containerd takes headers and certificates.
std::optional<std::vector<std::string>> TextOrTexts(const TomlNode& node) {
  if (const auto text = node.String()) return std::vector<std::string>{*text};
  return node.Strings();
}

bool LeadsToProxy(const TomlNode& host, const HostEntry& entry) {
  if (host["capabilities"].Strings() != entry.capabilities) return false;
  if (host["skip_verify"].Boolean() != entry.skip_verify) return false;
  if (TextOrTexts(host["ca"]).value_or(std::vector<std::string>()) != entry.ca) return false;
  const auto header = TextOrTexts(host["header"][kRegistryHeader]);
  return entry.server ? header == std::vector<std::string>{*entry.server} : !header.has_value();
}

// The first line that holds the header of a host; the end of the file without any.
size_t FirstHostLine(const TomlText& hosts) {
  size_t first = hosts.line_count() + 1;
  const TomlNode table = hosts.root()["host"];
  for (const std::string& name : table.Keys()) first = std::min(first, table[name].first_line());
  return first;
}

// Edits in the order of their lines.
std::vector<LineEdit> HostEdits(const TomlText& hosts, const HostEntry& entry, const std::string& proxy_addr) {
  std::vector<LineEdit> edits;
  if (entry.server && hosts.root()["server"].String() != entry.server) {
    const std::string line = StrCat("server = ", TomlString(*entry.server));
    const TomlNode server = hosts.root()["server"];
    if (server) {
      edits.push_back({server.first_line(), server.last_line() - server.first_line() + 1, {line}});
    } else {
      edits.push_back({1, 0, {line}});
    }
  }
  const TomlNode host = hosts.root()["host"][proxy_addr];
  if (host && LeadsToProxy(host, entry)) return edits;

  LineEdit edit;
  edit.lines = HostLines(entry, proxy_addr);
  if (host) {
    edit.at = host.first_line();
    edit.replaced = host.LastLine() - host.first_line() + 1;
  } else {
    // Hosts are tried in the order of the file.
    edit.at = hosts.WithComments(FirstHostLine(hosts));
    if (edit.at <= hosts.line_count()) edit.lines.push_back("");
  }
  if (!edits.empty() && edits.back().at == edit.at && edits.back().replaced == 0) {
    edits.back().lines.push_back("");
    edits.back().lines.insert(edits.back().lines.end(), edit.lines.begin(), edit.lines.end());
    edits.back().replaced = edit.replaced;
  } else {
    edits.push_back(std::move(edit));
  }
  std::sort(edits.begin(), edits.end(), [](const LineEdit& a, const LineEdit& b) { return a.at < b.at; });
  return edits;
}

std::string HostsFile(const std::string& directory, const std::string& namespace_name) {
  return StrCat(directory, "/", namespace_name, "/hosts.toml");
}

absl::Status PlanHostsToml(const std::string& directory, const HostEntry& entry, const std::string& proxy_addr,
                           Plan& plan) {
  const std::string path = HostsFile(directory, entry.namespace_name);
  DF_ASSIGN_OR_RETURN(const std::optional<std::string> current, plan.files.Read(path));
  DF_ASSIGN_OR_RETURN(std::string original, WithoutMarked(current.value_or(""), path));
  DF_ASSIGN_OR_RETURN(const TomlText hosts, TomlText::Parse(std::move(original), path));
  const std::vector<LineEdit> edits = HostEdits(hosts, entry, proxy_addr);
  const std::string host_key = StrCat("host.", TomlString(proxy_addr));
  DF_ASSIGN_OR_RETURN(const TomlText edited, CheckEdit(hosts, WithMarked(hosts.text(), edits), {"server", host_key},
                                                       StrCat("[", host_key, "]")));
  const bool server_ok = !entry.server || edited.root()["server"].String() == entry.server;
  if (!server_ok || !LeadsToProxy(edited.root()["host"][proxy_addr], entry)) {
    return absl::FailedPreconditionError(StrCat(path, ": write [", host_key, "] by hand; see docs/guides"));
  }
  if (current && !hosts.text().empty()) plan.files.KeepOriginal(path);
  return plan.files.Write(path, edited.text());
}

// Takes our lines out of the files of all registries but `wanted`.
absl::Status PlanWithoutOthers(const std::string& directory, const std::vector<HostEntry>& wanted, Plan& plan) {
  for (const std::string& name : plan.files.List(directory)) {
    const bool keep =
        std::any_of(wanted.begin(), wanted.end(), [&](const HostEntry& entry) { return entry.namespace_name == name; });
    if (keep) continue;
    DF_RETURN_IF_ERROR(PlanWithoutMarked(HostsFile(directory, name), plan));
  }
  // What is empty by that goes, too.
  for (const FileChange& change : plan.files.Changes()) {
    if (!change.after && change.path.starts_with(directory + "/") && change.path.ends_with("/hosts.toml")) {
      plan.files.RemoveIfEmpty(change.path.substr(0, change.path.rfind('/')));
    }
  }
  return absl::OkStatus();
}

}  // namespace

absl::Status PlanContainerd(const ContainerdConfig& containerd, const std::string& proxy_addr, Plan& plan) {
  Plan config_plan = plan;
  DF_ASSIGN_OR_RETURN(const std::string directory, PlanConfigToml(containerd.config_path, config_plan));
  std::vector<HostEntry> wanted;
  for (const ContainerdRegistry& registry : containerd.registries) {
    wanted.push_back(
        {registry.host_namespace, registry.server_addr, registry.capabilities, registry.skip_verify, registry.ca});
  }
  if (containerd.proxy_all_registries) wanted.push_back({kAllRegistries, std::nullopt, {"pull", "resolve"}, {}, {}});
  // The directory is filled before config.toml names it.
  for (const HostEntry& entry : wanted) DF_RETURN_IF_ERROR(PlanHostsToml(directory, entry, proxy_addr, plan));
  DF_RETURN_IF_ERROR(PlanWithoutOthers(directory, wanted, plan));
  plan.read_at_start.emplace_back(containerd.config_path, "containerd");
  return PlanConfigToml(containerd.config_path, plan).status();
}

absl::Status PlanContainerdUninstall(const ContainerdConfig& containerd, Plan& plan) {
  DF_ASSIGN_OR_RETURN(const std::optional<std::string> current, plan.files.Read(containerd.config_path));
  if (!current) return absl::OkStatus();
  DF_ASSIGN_OR_RETURN(const TomlText config, TomlText::Parse(*current, containerd.config_path));
  const std::string directory = FirstDirectory(Find(config.root(), RegistryTable(config)));
  plan.read_at_start.emplace_back(containerd.config_path, "containerd");
  // config.toml first: it names the directory no longer when that goes.
  DF_RETURN_IF_ERROR(PlanWithoutMarked(containerd.config_path, plan));
  if (directory.empty()) return absl::OkStatus();
  DF_RETURN_IF_ERROR(PlanWithoutOthers(directory, {}, plan));
  if (directory == kDefaultDirectory) plan.files.RemoveIfEmpty(directory);
  return absl::OkStatus();
}

}  // namespace dragonfly::cli
