// SPDX-License-Identifier: Apache-2.0
// Files that are made for a user, outside of the store. Internal to storage.
#pragma once

#include <string>

#include "absl/status/statusor.h"
#include "base/byte_range.h"
#include "base/unique_fd.h"

namespace dragonfly::storage {

// A checked output path: its directory, opened, and the name in it.
class OutputPath {
 public:
  // Errors: INVALID_ARGUMENT when `path` is not absolute or names no file; NOT_FOUND and the like of the directory.
  static absl::StatusOr<OutputPath> Open(const std::string& path);

  // Whether something has the name now; false when that cannot be told.
  bool Occupied() const;
  enum class Occupant { kNone, kSameFile, kOtherFile };
  // What has the name now, compared with the open file `fd`. A symbolic link is another file.
  absl::StatusOr<Occupant> OccupantFor(int fd) const;

  // False when files below `directory_fd` cannot be linked here; true when they may. Directories are compared: on some
  // overlay file systems a file tells another device than the directory that it is in.
  bool SharesFileSystemWith(int directory_fd) const;
  // Gives the open file `fd` this name as one more hard link. Errors: of link(2); ALREADY_EXISTS unless `overwrite`.
  absl::Status LinkFrom(int fd, bool overwrite) const;

  // "output path <path> is already exists"
  absl::Status AlreadyExists() const;
  const std::string& path() const { return path_; }
  const std::string& name() const { return name_; }
  int directory() const { return directory_.get(); }

 private:
  std::string path_;
  std::string name_;
  UniqueFd directory_;
};

// A file in the making, on the file system of its output path. It has no name, or a temporary one where the file system
// knows no nameless files, until Publish(); dropped before, it is gone.
class OutputFile {
 public:
  static absl::StatusOr<OutputFile> Create(const OutputPath& path);
  OutputFile(OutputFile&&) = default;
  OutputFile& operator=(OutputFile&&) = delete;
  ~OutputFile();

  // Shares all blocks of `source`; an error when the file system cannot.
  absl::Status Reflink(int source);
  // Copies `range` of `source` to the beginning. Holes stay holes.
  absl::Status Copy(int source, const ByteRange& range);
  // Gives it its name. Errors: ALREADY_EXISTS unless `overwrite`.
  absl::Status Publish(bool overwrite);

 private:
  explicit OutputFile(const OutputPath& path) : path_(&path) {}
  absl::Status CopyData(int source, uint64_t from, uint64_t to, uint64_t length);

  const OutputPath* path_;  // outlives the file
  UniqueFd fd_;
  std::string temporary_name_;  // empty: none
  bool copies_in_kernel_ = true;
};

}  // namespace dragonfly::storage
