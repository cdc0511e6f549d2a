// SPDX-License-Identifier: Apache-2.0
// Where downloads go: the part of dfget_options.h that looks at the file system.
#include <algorithm>
#include <filesystem>
#include <set>

#include "base/piece.h"
#include "base/status.h"
#include "base/text.h"
#include "base/url.h"
#include "cli/dfget_options.h"

namespace dragonfly::cli {
namespace {

namespace fs = std::filesystem;

// Only a slash that the user wrote means a directory: "http://host" names a file.
bool NamesDirectory(std::string_view text) { return text.substr(0, text.find_first_of("?#")).ends_with('/'); }

absl::Status CheckScheme(const Url& url) {
  if (url.scheme != "http" && url.scheme != "https") return absl::OkStatus();
  return absl::InvalidArgumentError(StrCat("unsupported ", url.scheme, " download directory"));
}

std::string DirectoryUrl(Url url) {
  url.has_query = url.has_fragment = false;
  url.query.clear();
  url.fragment.clear();
  if (!url.path.ends_with('/')) url.path += '/';
  return url.ToString();
}

// The last name of a URL's path, decoded, as it becomes a name of a file.
absl::StatusOr<std::string> LastName(const Url& url) {
  std::string_view path = url.path;
  if (path.ends_with('/')) path.remove_suffix(1);
  const std::string name = PercentDecode(path.substr(path.rfind('/') + 1));
  if (name.empty() || name == "." || name == ".." || name.find('/') != name.npos || name.find('\0') != name.npos) {
    return absl::InvalidArgumentError(StrCat("the path ", Quoted(url.path), " has no name that a file can take"));
  }
  return name;
}

absl::StatusOr<std::string> DirectoryOutput(const std::string& as_given) {
  std::error_code error;
  if (!fs::is_directory(as_given, error)) {
    return absl::InvalidArgumentError(StrCat("output path ", as_given, " is not a directory"));
  }
  const fs::path output = fs::absolute(as_given, error).lexically_normal();
  if (error) return absl::InvalidArgumentError(StrCat("output path ", as_given, ": ", error.message()));
  return output.string();
}

// What would be said about each of several files alike.
absl::Status CheckOptionsOfOneFile(const DfgetOptions& options) {
  const auto refuse = [](std::string_view option) {
    return absl::InvalidArgumentError(StrCat(option, " is about one file, not about several or a directory"));
  };
  if (options.output == "-") return refuse("the output -");
  if (!options.digest.empty()) return refuse("--digest");
  if (options.range) return refuse("--range");
  if (options.content_for_calculating_task_id) return refuse("--content-for-calculating-task-id");
  return absl::OkStatus();
}

absl::StatusOr<DownloadTarget> TargetOf(const DfgetOptions& options, const std::string& text) {
  DF_ASSIGN_OR_RETURN(const Url url, Url::Parse(text));
  const bool several = options.urls.size() > 1;
  DownloadTarget target;
  target.is_directory = options.recursive || NamesDirectory(text);
  target.url = text;
  if (target.is_directory || several) {
    DF_ASSIGN_OR_RETURN(target.output, DirectoryOutput(options.output));
  }
  if (target.is_directory) {
    DF_RETURN_IF_ERROR(CheckScheme(url));
    target.url = DirectoryUrl(url);
  }
  if (several) {
    DF_ASSIGN_OR_RETURN(const std::string name, LastName(url));
    target.output = (fs::path(target.output) / name).string();
  }
  if (!target.is_directory) {
    DF_ASSIGN_OR_RETURN(target.output, FileOutput(several ? target.output : options.output, options.overwrite));
  }
  return target;
}

}  // namespace

absl::StatusOr<std::string> FileOutput(const std::string& as_given, bool overwrite) {
  if (as_given == "-") return as_given;
  std::error_code error;
  const fs::path output = fs::absolute(as_given, error).lexically_normal();
  if (error) return absl::InvalidArgumentError(StrCat("output path ", as_given, ": ", error.message()));
  const fs::path parent = output.parent_path();
  if (output == parent || !output.has_filename()) {
    return absl::InvalidArgumentError(StrCat("output path ", as_given, " is not exist"));
  }
  if (!fs::is_directory(parent, error)) {
    return absl::InvalidArgumentError(StrCat("output path ", parent.string(), " is not a directory"));
  }
  const fs::file_status there = fs::symlink_status(output, error);
  if (fs::is_directory(there) || (fs::exists(there) && !overwrite)) {
    return absl::InvalidArgumentError(StrCat("output path ", output.string(), " is already exist"));
  }
  return output.string();
}

absl::StatusOr<std::vector<DownloadTarget>> ValidateDfgetOptions(const DfgetOptions& options) {
  std::vector<DownloadTarget> targets;
  std::set<std::string> outputs;
  for (const std::string& url : options.urls) {
    DF_ASSIGN_OR_RETURN(DownloadTarget target, TargetOf(options, url));
    if (!outputs.insert(target.output).second) {
      return absl::InvalidArgumentError(StrCat("output path ", target.output, " is named by two URLs"));
    }
    targets.push_back(std::move(target));
  }
  const bool directory = std::any_of(targets.begin(), targets.end(), [](const auto& t) { return t.is_directory; });
  if (directory || targets.size() > 1) DF_RETURN_IF_ERROR(CheckOptionsOfOneFile(options));
  if (options.json && options.output == "-") {
    return absl::InvalidArgumentError("--json and the output - both want standard output");
  }
  if (options.piece_length && *options.piece_length < kPieceLengthMin) {
    return absl::InvalidArgumentError(StrCat("piece length ", *options.piece_length,
                                             " bytes is less than the minimum piece length ", kPieceLengthMin,
                                             " bytes"));
  }
  DF_RETURN_IF_ERROR(IncludeGlobs::Parse(options.include_files).status());
  if (!options.include_files.empty() && !directory) {
    return absl::InvalidArgumentError("--include-files needs the URL of a directory");
  }
  return targets;
}

}  // namespace dragonfly::cli
