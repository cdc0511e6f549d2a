// SPDX-License-Identifier: Apache-2.0
// The directory that a directory's files go into. Nothing is made outside of it.
#pragma once

#include <cstdint>
#include <string>
#include <string_view>
#include <utility>

#include "absl/status/statusor.h"
#include "base/unique_fd.h"

namespace dragonfly::cli {

// Paths are relative and have only names as components. Any thread may call any method.
class OutputTree {
 public:
  // Opens the directory `root`, and makes it when its parent is there. `root` itself may be a symbolic link: the user
  // has named it.
  static absl::StatusOr<OutputTree> Open(const std::string& root);

  // Makes the directories of `path`, which is one itself. Errors: FAILED_PRECONDITION naming a component that is there
  // and is no directory, or a symbolic link.
  absl::Status MakeDirectories(std::string_view path) const;
  // The same for the directories above the file `path`.
  absl::Status MakeParents(std::string_view path) const;

  enum class Kind { kNothing, kFile, kOther };
  struct Existing {
    Kind kind = Kind::kNothing;
    uint64_t length = 0;  // bytes of a file
  };
  // What is at `path`, symbolic links not followed. Call MakeParents() first.
  absl::StatusOr<Existing> Look(std::string_view path) const;

  std::string PathOf(std::string_view path) const;

 private:
  OutputTree(std::string root, UniqueFd directory) : root_(std::move(root)), directory_(std::move(directory)) {}

  // Descends into `path` and returns its last directory.
  absl::StatusOr<UniqueFd> Descend(std::string_view path, bool make) const;

  std::string root_;
  UniqueFd directory_;
};

}  // namespace dragonfly::cli
