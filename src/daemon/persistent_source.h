// SPDX-License-Identifier: Apache-2.0
// The user's file that an import takes: what it was when it was named, and whether it still is. Internal to
// PersistentTasks.
#pragma once

#include <ctime>
#include <memory>
#include <optional>
#include <string>
#include <vector>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "base/piece.h"
#include "base/task_id.h"
#include "base/unique_fd.h"
#include "daemon/persistent_tasks.h"
#include "storage/task_content.h"

namespace dragonfly::daemon {

// Every method blocks on the disk. Thread-safe, but for Name().
class PersistentSource {
 public:
  // Errors: INVALID_ARGUMENT when the path is not absolute, or names no regular file, or the pieces do not fit; of
  // open(2).
  static absl::StatusOr<std::shared_ptr<PersistentSource>> Open(const PersistentImport& request);

  const std::string& path() const { return path_; }
  int fd() const { return fd_.get(); }
  const PieceLayout& layout() const { return layout_; }

  // Names the task by the bytes, some at a time, and keeps the checksums of the pieces: nullopt as long as more are to
  // be read. `named` counts the bytes.
  absl::StatusOr<std::optional<TaskId>> NameSome(const PersistentImport& request, uint64_t* named);

  // OK when the file is what it was when it was opened. Errors: ABORTED.
  absl::Status CheckUnchanged() const;

  // The checksum of a piece, when the file was named by its bytes.
  std::optional<uint32_t> CrcOf(PieceNumber number) const;
  // Gives `content` the piece: copies it, or finishes it where it lies when `in_place`; one that is there already is
  // compared. Errors: ALREADY_EXISTS when it is another one; ABORTED when the file became shorter; of the disk.
  absl::Status CopyPiece(storage::TaskContent& content, PieceNumber number, bool in_place) const;

 private:
  PersistentSource(std::string path, PieceLayout layout) : path_(std::move(path)), layout_(layout) {}
  template <typename Take>
  absl::Status Read(const ByteRange& range, Take take) const;

  const std::string path_;
  const PieceLayout layout_;
  UniqueFd fd_;
  struct timespec modified_{};
  PersistentCacheIdBuilder builder_{PersistentCacheIdForm::kSha256};
  std::vector<uint32_t> crcs_;
};

}  // namespace dragonfly::daemon
