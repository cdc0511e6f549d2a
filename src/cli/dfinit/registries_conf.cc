// SPDX-License-Identifier: Apache-2.0
#include <algorithm>
#include <map>
#include <optional>
#include <set>
#include <utility>

#include "base/status.h"
#include "base/text.h"
#include "cli/dfinit/marked_text.h"
#include "cli/dfinit/plan.h"
#include "cli/dfinit/toml_text.h"

namespace dragonfly::cli {
namespace {

constexpr char kSystemDirectory[] = "/etc/containers";
constexpr char kDropInName[] = "50-dragonfly.conf";
constexpr char kSearch[] = "unqualified-search-registries";
// The original's, for hosts whose files name none.
const char* const kDefaultSearch[] = {"registry.fedoraproject.org", "registry.access.redhat.com", "docker.io"};

// The paths of one set of files.
struct Paths {
  explicit Paths(const std::string& config_path)
      : main(config_path),
        directory(config_path.substr(0, config_path.rfind('/'))),
        drop_ins(StrCat(directory, "/registries.conf.d")) {
    // Drop-in files are read beside the system's file; one that lies elsewhere is named to the runtime alone.
    ours = directory == kSystemDirectory ? StrCat(drop_ins, "/", kDropInName) : main;
  }

  std::string main;
  std::string directory;
  std::string drop_ins;
  std::string ours;  // the file for tables that are in none yet
};

// A file without our lines, and what goes into it.
struct RegistriesFile {
  TomlText original;
  bool present;
  std::map<size_t, LineEdit> edits = {};  // by their lines
  std::vector<std::string> changed = {};  // see CheckEdit()

  // Edits at one place become one.
  void Edit(LineEdit edit) {
    const auto [there, is_new] = edits.try_emplace(edit.at, edit);
    if (is_new) return;
    LineEdit& first = there->second;
    first.replaced = std::max(first.replaced, edit.replaced);
    first.lines.push_back("");
    first.lines.insert(first.lines.end(), edit.lines.begin(), edit.lines.end());
  }
};

// In the order in which they are read: later ones win.
absl::StatusOr<std::vector<RegistriesFile>> ReadFiles(const Paths& paths, const Plan& plan) {
  std::vector<std::string> names = {paths.main};
  if (paths.ours != paths.main) {
    for (const std::string& name : plan.files.List(paths.drop_ins)) {
      if (name.ends_with(".conf") && name != kDropInName) names.push_back(StrCat(paths.drop_ins, "/", name));
    }
  }
  if (std::find(names.begin(), names.end(), paths.ours) == names.end()) names.push_back(paths.ours);

  std::vector<RegistriesFile> files;
  for (const std::string& name : names) {
    DF_ASSIGN_OR_RETURN(const std::optional<std::string> current, plan.files.Read(name));
    DF_ASSIGN_OR_RETURN(std::string original, WithoutMarked(current.value_or(""), name));
    // One that holds our lines alone was made by us.
    const bool present = current.has_value() && (!HasMarked(*current) || !original.empty());
    DF_ASSIGN_OR_RETURN(TomlText parsed, TomlText::Parse(std::move(original), name));
    files.push_back({std::move(parsed), present});
  }
  return files;
}

std::string PrefixOf(const TomlNode& table) {
  return table["prefix"].String().value_or(table["location"].String().value_or(""));
}

struct Place {
  RegistriesFile* file;
  size_t index;
};

// The table that is in force for `prefix`.
std::optional<Place> FindRegistry(std::vector<RegistriesFile>& files, std::string_view prefix) {
  for (auto file = files.rbegin(); file != files.rend(); ++file) {
    const TomlNode tables = file->original.root()["registry"];
    for (size_t i = tables.size(); i-- > 0;) {
      if (PrefixOf(tables[i]) == prefix) return Place{&*file, i};
    }
  }
  return std::nullopt;
}

std::vector<std::string> MirrorLines(const MirrorAddress& mirror) {
  std::vector<std::string> lines = {"[[registry.mirror]]", StrCat("location = ", TomlString(mirror.location))};
  if (mirror.insecure) lines.push_back("insecure = true");
  return lines;
}

// Puts the mirror before the others of a table.
absl::Status AddMirror(const Place& place, const MirrorAddress& mirror) {
  const TomlText& file = place.file->original;
  const TomlNode tables = file.root()["registry"];
  const TomlNode table = tables[place.index];
  const TomlNode mirrors = table["mirror"];
  if (mirrors.size() > 0 && mirrors[size_t{0}]["location"].String() == mirror.location) return absl::OkStatus();
  if (!tables.IsArrayOfTables() || (mirrors && !mirrors.IsArrayOfTables())) {
    return absl::FailedPreconditionError(
        StrCat(file.name(), ":", table.first_line(), ": registry ", Quoted(PrefixOf(table)),
               " is written in a way that dfinit does not edit; put this mirror first by hand: ", mirror.location));
  }
  LineEdit edit{.at = mirrors ? file.WithComments(mirrors[size_t{0}].first_line()) : table.LastOwnLine() + 1,
                .lines = MirrorLines(mirror)};
  edit.lines.insert(mirrors ? edit.lines.end() : edit.lines.begin(), "");
  place.file->Edit(std::move(edit));
  place.file->changed.push_back(StrCat("registry[", place.index, "].mirror"));
  return absl::OkStatus();
}

// What the files say, the last one winning.
std::optional<std::vector<std::string>> SearchInForce(const std::vector<RegistriesFile>& files) {
  std::optional<std::vector<std::string>> search;
  for (const RegistriesFile& file : files) {
    if (auto found = file.original.root()[kSearch].Strings()) search = std::move(found);
  }
  return search;
}

// Sets the list of registries for short names where it has to be set.
void SetSearch(const RegistriesConfig& registries, const std::vector<RegistriesFile>& files, RegistriesFile& ours) {
  const auto in_force = SearchInForce(files);
  const auto& configured = registries.unqualified_search_registries;
  if (configured ? in_force == configured : in_force.has_value()) return;
  const std::vector<std::string> wanted =
      configured ? *configured : std::vector<std::string>(std::begin(kDefaultSearch), std::end(kDefaultSearch));
  LineEdit edit{.at = 1, .lines = {StrCat(kSearch, " = ", TomlStrings(wanted))}};
  if (const TomlNode old = ours.original.root()[kSearch]) {
    edit.at = old.first_line();
    edit.replaced = old.last_line() - old.first_line() + 1;
  }
  ours.Edit(std::move(edit));
  ours.changed.push_back(kSearch);
}

std::vector<LineEdit> InOrder(const std::map<size_t, LineEdit>& edits) {
  std::vector<LineEdit> result;
  for (const auto& [line, edit] : edits) result.push_back(edit);
  return result;
}

absl::Status PlanFile(RegistriesFile& file, const MirrorAddress& mirror, Plan& plan) {
  const TomlText& original = file.original;
  if (!file.present && file.edits.empty()) return plan.files.Write(original.name(), std::nullopt);
  DF_ASSIGN_OR_RETURN(const TomlText edited,
                      CheckEdit(original, WithMarked(original.text(), InOrder(file.edits)), file.changed,
                                StrCat("the mirror ", mirror.location, " of each registry")));
  // The mirrors that were there follow ours.
  const TomlNode before = original.root()["registry"];
  for (size_t i = 0; i < before.size(); ++i) {
    const TomlNode mirrors = edited.root()["registry"][i]["mirror"];
    const size_t added = mirrors.size() - before[i]["mirror"].size();
    for (size_t k = 0; k < before[i]["mirror"].size(); ++k) {
      if (mirrors[k + added]["location"].String() == before[i]["mirror"][k]["location"].String()) continue;
      return absl::FailedPreconditionError(StrCat(original.name(), ": the edit would change the mirrors of ",
                                                  Quoted(PrefixOf(before[i])), "; put ", mirror.location,
                                                  " first by hand"));
    }
  }
  if (file.present && !file.edits.empty()) plan.files.KeepOriginal(original.name());
  return plan.files.Write(original.name(), edited.text());
}

void WarnOfSeveralUpstreams(const RegistriesConfig& registries, Plan& plan) {
  std::set<std::string> hosts;
  for (const MirroredRegistry& registry : registries.registries) {
    const std::string& location = registry.location.empty() ? registry.prefix : registry.location;
    hosts.insert(location.substr(0, location.find('/')));
  }
  if (hosts.size() < 2) return;
  plan.warnings.push_back(
      StrCat(registries.config_path,
             ": requests to a mirror do not tell which registry they are for: dfdaemon takes all ", hosts.size(),
             " registries from its proxy.registryMirror.addr, so an image of the same name there may be "
             "pulled in place of another registry's; mirror one registry only"));
}

}  // namespace

absl::Status PlanRegistries(const RegistriesConfig& registries, const MirrorAddress& mirror, std::string_view service,
                            Plan& plan) {
  const Paths paths(registries.config_path);
  DF_ASSIGN_OR_RETURN(std::vector<RegistriesFile> files, ReadFiles(paths, plan));
  const auto ours = std::find_if(files.begin(), files.end(),
                                 [&](const RegistriesFile& file) { return file.original.name() == paths.ours; });
  SetSearch(registries, files, *ours);
  std::vector<std::string> tables;
  for (const MirroredRegistry& registry : registries.registries) {
    if (const auto place = FindRegistry(files, registry.prefix)) {
      DF_RETURN_IF_ERROR(AddMirror(*place, mirror));
      continue;
    }
    if (!tables.empty() || !ours->original.text().empty()) tables.push_back("");
    tables.insert(tables.end(), {"[[registry]]", StrCat("prefix = ", TomlString(registry.prefix))});
    if (!registry.location.empty()) tables.push_back(StrCat("location = ", TomlString(registry.location)));
    tables.push_back("");
    for (std::string& line : MirrorLines(mirror)) tables.push_back(std::move(line));
  }
  if (!tables.empty()) ours->Edit({.at = ours->original.line_count() + 1, .lines = std::move(tables)});
  for (RegistriesFile& file : files) {
    DF_RETURN_IF_ERROR(PlanFile(file, mirror, plan));
    if (!service.empty()) plan.read_at_start.emplace_back(file.original.name(), service);
  }
  WarnOfSeveralUpstreams(registries, plan);
  return absl::OkStatus();
}

absl::Status PlanRegistriesUninstall(const RegistriesConfig& registries, std::string_view service, Plan& plan) {
  const Paths paths(registries.config_path);
  std::vector<std::string> names = {paths.main};
  if (paths.ours != paths.main) {
    for (const std::string& name : plan.files.List(paths.drop_ins)) {
      if (name.ends_with(".conf")) names.push_back(StrCat(paths.drop_ins, "/", name));
    }
  }
  for (const std::string& name : names) {
    DF_RETURN_IF_ERROR(PlanWithoutMarked(name, plan));
    if (!service.empty()) plan.read_at_start.emplace_back(name, service);
  }
  return absl::OkStatus();
}

}  // namespace dragonfly::cli
