// SPDX-License-Identifier: Apache-2.0
// The files of this host as they are to become. Changes are planned in memory, so that they can be shown, checked and
// dropped, and are then written one by one, each as a whole.
#pragma once

#include <map>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "absl/status/status.h"
#include "absl/status/statusor.h"

namespace dragonfly::cli {

struct FileChange {
  std::string path;
  std::optional<std::string> before;  // nullopt: not there
  std::optional<std::string> after;
};

class HostFiles {
 public:
  // Every path is taken below `root` on disk ("" for this host's own files).
  explicit HostFiles(std::string root = "") : root_(std::move(root)) {}

  // What the file is to hold, else what it holds; nullopt when there is none. Errors: those of reading, and
  // INVALID_ARGUMENT for a file above 16 MiB.
  absl::StatusOr<std::optional<std::string>> Read(const std::string& path) const;
  // Names in a directory as it is on disk, in their order; none when it is not there.
  std::vector<std::string> List(const std::string& directory) const;

  // Plans the content of a file; nullopt removes it. Errors: those of Read().
  absl::Status Write(const std::string& path, std::optional<std::string> content);
  // Plans to keep a copy of `path` as it is on disk, unless an earlier one is there; see OriginalOf().
  void KeepOriginal(const std::string& path) { originals_.push_back(path); }
  // Plans to remove a directory, after the files, when it is empty then.
  void RemoveIfEmpty(const std::string& directory) { directories_.push_back(directory); }

  // Files that will change, in the order in which they were first written.
  std::vector<FileChange> Changes() const;
  // Makes the changes. A file is replaced by a new one in a single step, which keeps mode, owner and extended
  // attributes; a symbolic link stays and what it points to is replaced. New files get mode 0644, new directories 0755.
  // Errors name the file; files before it in the order are changed then, and none after it.
  absl::Status Apply() const;

  // Undoes what Apply() has done. Goes on after an error and returns the first.
  absl::Status Revert() const;

  // Where the copy of KeepOriginal() is.
  static std::string OriginalOf(const std::string& path) { return path + ".before-dfinit"; }

 private:
  struct Planned {
    std::optional<std::string> before;
    std::optional<std::string> after;
  };

  std::string OnDisk(const std::string& path) const { return root_ + path; }

  std::string root_;
  std::vector<std::string> order_;
  std::map<std::string, Planned> planned_;
  std::vector<std::string> originals_;
  std::vector<std::string> directories_;
};

// Replaces the file at `path` on disk by one that holds `content`, as HostFiles::Apply() tells. It takes mode, owner
// and attributes from the file `like`, when that is not "".
absl::Status ReplaceFile(const std::string& path, std::string_view content, const std::string& like = "");

}  // namespace dragonfly::cli
