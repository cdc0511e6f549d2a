// SPDX-License-Identifier: Apache-2.0
#include "source/plugin_set.h"

#include <dlfcn.h>
#include <sys/stat.h>

#include <algorithm>
#include <cerrno>
#include <cstddef>
#include <cstring>
#include <filesystem>
#include <system_error>
#include <utility>
#include <vector>

#include "absl/strings/ascii.h"
#include "base/status.h"
#include "base/text.h"
#include "source/listing.h"
#include "source/source.h"
#include "telemetry/log.h"

namespace dragonfly::source {
namespace {

void LogForPlugin(int level, const char* text) {
  const std::string line = OneLine(text == nullptr ? "" : text);
  if (level <= 0) {
    DF_LOG(Debug, "origin plugin: {}", line);
  } else if (level == 1) {
    DF_LOG(Info, "origin plugin: {}", line);
  } else if (level == 2) {
    DF_LOG(Warn, "origin plugin: {}", line);
  } else {
    DF_LOG(Error, "origin plugin: {}", line);
  }
}

constexpr df_origin_host kHost = {.struct_size = sizeof(df_origin_host), .log = &LogForPlugin};

// RFC 3986 §3.1, lower case.
bool IsScheme(std::string_view text) {
  return !text.empty() && absl::ascii_islower(static_cast<unsigned char>(text[0])) &&
         std::ranges::all_of(text, [](char c) {
           const auto byte = static_cast<unsigned char>(c);
           return absl::ascii_islower(byte) || absl::ascii_isdigit(byte) || c == '+' || c == '-' || c == '.';
         });
}

// "<scheme>" of "lib<scheme>.so"; empty for every other name.
std::string SchemeOfFile(std::string_view name) {
  constexpr std::string_view kPrefix = "lib";
  constexpr std::string_view kSuffix = ".so";
  if (!name.starts_with(kPrefix) || !name.ends_with(kSuffix)) return "";
  name.remove_prefix(kPrefix.size());
  if (name.size() <= kSuffix.size()) return "";
  name.remove_suffix(kSuffix.size());
  return IsScheme(name) ? std::string(name) : "";
}

// Whoever may write to the file runs code as dfdaemon.
absl::Status CheckOwner(const std::string& path) {
  struct stat info{};
  if (::stat(path.c_str(), &info) != 0) return ErrnoStatus(errno, "stat");
  if (!S_ISREG(info.st_mode)) return absl::InvalidArgumentError("not a file");
  if ((info.st_mode & S_IWOTH) != 0) return absl::InvalidArgumentError("everybody may write to it");
  return absl::OkStatus();
}

}  // namespace

absl::StatusOr<std::shared_ptr<const OriginPlugin>> OriginPlugin::Load(const std::string& path,
                                                                       const std::string& scheme) {
  const std::string what = StrCat("origin plugin ", path);
  if (absl::Status owner = CheckOwner(path); !owner.ok()) return Annotate(owner, what);
  // Never closed: see the destructor. RTLD_NOW, so that a missing symbol shows here and not in a download.
  void* const library = ::dlopen(path.c_str(), RTLD_NOW | RTLD_LOCAL | RTLD_NODELETE);
  if (library == nullptr) return absl::InvalidArgumentError(StrCat(what, ": ", OneLine(::dlerror())));
  const auto open = reinterpret_cast<df_origin_plugin_open_fn>(::dlsym(library, "df_origin_plugin_open"));
  if (open == nullptr) {
    return absl::InvalidArgumentError(StrCat(what, ": it does not export df_origin_plugin_open"));
  }
  df_origin_error error{};
  const df_origin_plugin* const table = open(DF_ORIGIN_ABI_VERSION, &kHost, &error);
  if (table == nullptr) {
    error.text[DF_ORIGIN_ERROR_TEXT_MAX - 1] = '\0';
    return absl::InvalidArgumentError(
        StrCat(what, ": it refuses to work: ", error.text[0] == '\0' ? "no reason given" : OneLine(error.text)));
  }
  if (table->abi_version != DF_ORIGIN_ABI_VERSION) {
    return absl::InvalidArgumentError(StrCat(what, ": it is built for version ", table->abi_version,
                                             " of the plugin interface, this is version ", DF_ORIGIN_ABI_VERSION));
  }
  if (table->struct_size < offsetof(df_origin_plugin, list) || table->stat == nullptr || table->read == nullptr) {
    return absl::InvalidArgumentError(StrCat(what, ": its table lacks stat or read"));
  }
  if (table->scheme == nullptr || scheme != table->scheme) {
    return absl::InvalidArgumentError(StrCat(what, ": it is for scheme ",
                                             Quoted(table->scheme == nullptr ? "" : table->scheme),
                                             ", which its file name does not say"));
  }
  return std::shared_ptr<const OriginPlugin>(new OriginPlugin(table, scheme));
}

bool OriginPlugin::has_list() const {
  return table_->struct_size >= offsetof(df_origin_plugin, list) + sizeof(table_->list) && table_->list != nullptr;
}

bool OriginPlugin::has_open() const {
  return table_->struct_size >= offsetof(df_origin_plugin, open) + sizeof(table_->open) && table_->open != nullptr;
}

OriginPlugin::~OriginPlugin() {
  const bool knows_destroy = table_->struct_size >= offsetof(df_origin_plugin, destroy) + sizeof(table_->destroy) &&
                             table_->destroy != nullptr;
  if (knows_destroy) table_->destroy(table_->self);
}

PluginSet::~PluginSet() = default;

std::shared_ptr<PluginSet> PluginSet::Load(const std::string& directory) {
  std::shared_ptr<PluginSet> set(new PluginSet());
  std::error_code error;
  std::vector<std::filesystem::path> files;
  for (std::filesystem::directory_iterator at(directory, error), end; !error && at != end; at.increment(error)) {
    files.push_back(at->path());
  }
  if (error && error != std::errc::no_such_file_or_directory) {
    DF_LOG(Error, "origin plugins: read {}: {}", directory, error.message());
  }
  std::ranges::sort(files);
  for (const std::filesystem::path& file : files) {
    const std::string scheme = SchemeOfFile(file.filename().string());
    if (scheme.empty()) {
      DF_LOG(Warn, "origin plugins: {} is not named lib<scheme>.so and is not loaded", file.string());
      continue;
    }
    if (IsBuiltInScheme(scheme)) {
      DF_LOG(Warn, "origin plugins: {} is not loaded: dfdaemon itself reads {} URLs", file.string(), scheme);
      continue;
    }
    auto loaded = OriginPlugin::Load(file.string(), scheme);
    if (!loaded.ok()) {
      DF_LOG(Error, "{}", MessageOf(loaded.status()));
      set->failures_.emplace(scheme, loaded.status());
      continue;
    }
    DF_LOG(Info, "origin plugin {} loaded for {} URLs", file.string(), scheme);
    set->plugins_.emplace(scheme, *std::move(loaded));
  }
  if (!set->plugins_.empty()) set->pool_ = std::make_unique<runtime::BlockingPool>(kThreads, kQueueMax);
  return set;
}

absl::StatusOr<std::shared_ptr<const OriginPlugin>> PluginSet::Find(std::string_view scheme) const {
  if (const auto found = plugins_.find(scheme); found != plugins_.end()) return found->second;
  if (const auto failed = failures_.find(scheme); failed != failures_.end()) {
    return absl::InvalidArgumentError(StrCat("unsupported scheme ", Quoted(scheme), ": ", MessageOf(failed->second)));
  }
  return absl::NotFoundError("no plugin");
}

}  // namespace dragonfly::source
