// SPDX-License-Identifier: Apache-2.0
// What dfdaemon lists below a directory, read with suspicion: it becomes paths on this host.
#pragma once

#include <cstdint>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "absl/status/statusor.h"
#include "cli/include_globs.h"

namespace dfdaemon::v2 {
class ListTaskEntriesResponse;
}

namespace dragonfly::cli {

struct ListedFile {
  ListedFile() = default;
  std::string url;
  std::string path;                        // below the directory, decoded: RelativePath()
  std::optional<uint64_t> content_length;  // bytes; nullopt: not listed
};

struct SelectedFiles {
  SelectedFiles() = default;
  std::vector<ListedFile> files;         // ordered by path
  std::vector<std::string> directories;  // that are listed, without those that only hold files; ordered
};

// The decoded path of an entry below its directory, without a '/' at its end. `directory_url` is canonical and ends in
// '/'. Errors: FAILED_PRECONDITION naming an entry that lies elsewhere, or has a component that is empty, "." or ".."
// or holds a '/' or a NUL once it is decoded.
absl::StatusOr<std::string> RelativePath(std::string_view directory_url, std::string_view entry_url);

// The files that `globs` want; the directories when they want everything. Errors: those of RelativePath();
// FAILED_PRECONDITION when two entries have one path; INVALID_ARGUMENT with the text of the original for more than
// `max_files` files.
absl::StatusOr<SelectedFiles> SelectFiles(std::string_view directory_url,
                                          const dfdaemon::v2::ListTaskEntriesResponse& response,
                                          const IncludeGlobs& globs, size_t max_files);

// The files of plain paths (IncludeGlobs::PlainPaths()) below a directory, without asking anybody. Errors: as
// SelectFiles().
absl::StatusOr<SelectedFiles> FilesOfPaths(std::string_view directory_url, const std::vector<std::string>& paths,
                                           size_t max_files);

}  // namespace dragonfly::cli
