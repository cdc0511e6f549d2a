// SPDX-License-Identifier: Apache-2.0
#include "cli/directory_listing.h"

#include <algorithm>
#include <utility>

#include "absl/strings/ascii.h"
#include "base/status.h"
#include "base/text.h"
#include "base/url.h"
#include "dfdaemon/v2/dfdaemon.pb.h"

namespace dragonfly::cli {
namespace {

absl::Status TooManyFiles(size_t count) {
  return absl::InvalidArgumentError(StrCat("max number of files to download exceeded: ", count));
}

std::string WithoutQuery(std::string_view url) { return std::string(url.substr(0, url.find_first_of("?#"))); }

// Unreserved characters (RFC 3986, section 2.3) and slashes stay, as dfdaemon's own lists have them.
std::string EncodePath(std::string_view path) {
  constexpr std::string_view kHex = "0123456789ABCDEF";
  std::string encoded;
  for (const char c : path) {
    const auto byte = static_cast<unsigned char>(c);
    if (absl::ascii_isalnum(byte) || c == '-' || c == '.' || c == '_' || c == '~' || c == '/') {
      encoded += c;
    } else {
      encoded += '%';
      encoded += kHex[byte >> 4];
      encoded += kHex[byte & 15];
    }
  }
  return encoded;
}

bool IsName(std::string_view component) {
  return !component.empty() && component != "." && component != ".." && component.find('/') == component.npos &&
         component.find('\0') == component.npos;
}

}  // namespace

absl::StatusOr<std::string> RelativePath(std::string_view directory_url, std::string_view entry_url) {
  std::string url = WithoutQuery(entry_url);
  if (!url.starts_with(directory_url)) {
    // Daemons of other versions may spell a URL in another way.
    const auto parsed = Url::Parse(entry_url);
    if (parsed.ok()) url = WithoutQuery(parsed->ToString());
  }
  if (!url.starts_with(directory_url)) {
    return absl::FailedPreconditionError(StrCat("dfdaemon lists an entry elsewhere: ", Quoted(entry_url)));
  }
  std::string_view rest = std::string_view(url).substr(directory_url.size());
  if (rest.ends_with('/')) rest.remove_suffix(1);
  std::string path;
  for (;;) {
    const size_t slash = rest.find('/');
    const std::string component = PercentDecode(rest.substr(0, slash));
    if (!IsName(component)) {
      return absl::FailedPreconditionError(StrCat("dfdaemon lists a path that is not safe: ", Quoted(entry_url)));
    }
    path += component;
    if (slash == rest.npos) return path;
    path += '/';
    rest.remove_prefix(slash + 1);
  }
}

absl::StatusOr<SelectedFiles> SelectFiles(std::string_view directory_url,
                                          const dfdaemon::v2::ListTaskEntriesResponse& response,
                                          const IncludeGlobs& globs, size_t max_files) {
  SelectedFiles selected;
  size_t count = 0;
  const bool all = globs.empty();
  for (const dfdaemon::v2::Entry& entry : response.entries()) {
    // Object stores may list the directory itself.
    if (entry.is_dir() && entry.url() == directory_url) continue;
    DF_ASSIGN_OR_RETURN(std::string path, RelativePath(directory_url, entry.url()));
    if (entry.is_dir()) {
      if (all) selected.directories.push_back(std::move(path));
      continue;
    }
    if (!globs.Match(path)) continue;
    // The rest is only counted: what nobody will download takes no memory.
    if (++count > max_files) continue;
    ListedFile file;
    file.url = entry.url();
    file.path = std::move(path);
    file.content_length = entry.content_length();
    selected.files.push_back(std::move(file));
  }
  if (count > max_files) return TooManyFiles(count);
  const auto by_path = [](const ListedFile& a, const ListedFile& b) { return a.path < b.path; };
  std::sort(selected.files.begin(), selected.files.end(), by_path);
  std::sort(selected.directories.begin(), selected.directories.end());
  const auto twice = std::adjacent_find(selected.files.begin(), selected.files.end(),
                                        [](const ListedFile& a, const ListedFile& b) { return a.path == b.path; });
  if (twice != selected.files.end()) {
    return absl::FailedPreconditionError(StrCat("dfdaemon lists a path twice: ", Quoted(twice->path)));
  }
  return selected;
}

absl::StatusOr<SelectedFiles> FilesOfPaths(std::string_view directory_url, const std::vector<std::string>& paths,
                                           size_t max_files) {
  if (paths.size() > max_files) return TooManyFiles(paths.size());
  SelectedFiles selected;
  for (const std::string& path : paths) {
    ListedFile file;
    file.url = StrCat(directory_url, EncodePath(path));
    DF_ASSIGN_OR_RETURN(file.path, RelativePath(directory_url, file.url));
    selected.files.push_back(std::move(file));
  }
  return selected;
}

}  // namespace dragonfly::cli
