// SPDX-License-Identifier: Apache-2.0
// The directories of a store and the names in them. Internal to storage.
//
// Every name below the directory is made from a TaskId, opened relative to a directory descriptor and without following
// a symbolic link, so nothing outside is ever touched.
#pragma once

#include <sys/stat.h>

#include <array>
#include <memory>
#include <string>
#include <vector>

#include "absl/status/statusor.h"
#include "base/ids.h"
#include "base/unique_fd.h"

namespace dragonfly::storage {

// Thread-safe; calls for one and the same task must not overlap.
class StoreDirectory {
 public:
  // Makes what is missing and takes the lock. With `keep` false, content/ and metadata/ are emptied.
  // Errors: FAILED_PRECONDITION when another daemon holds the directory, or content/ or metadata/ is no directory;
  // INVALID_ARGUMENT when `dir` is not absolute; errors of the file system.
  static absl::StatusOr<std::unique_ptr<StoreDirectory>> Open(const std::string& dir, bool keep);
  ~StoreDirectory();

  const std::string& dir() const { return dir_; }
  // A descriptor of the directory that contents are in.
  int content_fd() const { return parts_[kContent].get(); }
  std::string ContentPath(const TaskId& id) const;

  // New, empty, for reading and writing. What is there under the name is unlinked first; who has it open keeps it.
  absl::StatusOr<UniqueFd> CreateContent(const TaskId& id) const;
  absl::StatusOr<UniqueFd> OpenContent(const TaskId& id) const;

  // Gives the open file `source` a second name beside the content of `id`, and opens it for reading and writing. Either
  // of the next two ends it; a crash leaves a name that the next start removes. Errors: of link(2) and open(2).
  absl::StatusOr<UniqueFd> LinkAside(const TaskId& id, int source) const;
  // That name becomes the content's.
  absl::Status PublishAside(const TaskId& id) const;
  void DropAside(const TaskId& id) const;
  // The same for the metadata; every write(2) appends.
  absl::StatusOr<UniqueFd> CreateLog(const TaskId& id) const;
  absl::StatusOr<UniqueFd> OpenLog(const TaskId& id) const;

  // Errors: of stat(2).
  absl::StatusOr<struct stat> StatContent(const TaskId& id) const { return Stat(kContent, id); }
  absl::StatusOr<struct stat> StatLog(const TaskId& id) const { return Stat(kMetadata, id); }

  // Unlinks metadata and content, in this order: a crash in between leaves a content without metadata, which the next
  // start removes. What is not there is no error.
  absl::Status Remove(const TaskId& id) const;

  // Sets the time of last use that LastUse() of the next run reads. Errors are not worth reporting.
  void TouchLog(const TaskId& id) const;

  // Ids that have a metadata file and ids that have a content file. Entries that are neither are unlinked, unless they
  // are directories.
  std::vector<TaskId> ListLogs() const;
  std::vector<TaskId> ListContents() const;

  // Gives the lock up; nothing may be written any more.
  void Unlock();

 private:
  enum Part { kContent, kMetadata };

  StoreDirectory() = default;
  absl::StatusOr<UniqueFd> Create(Part part, const TaskId& id, int flags) const;
  absl::StatusOr<UniqueFd> OpenFile(Part part, const TaskId& id, int flags) const;
  absl::StatusOr<struct stat> Stat(Part part, const TaskId& id) const;
  absl::Status Unlink(Part part, const TaskId& id) const;
  std::vector<TaskId> List(Part part) const;
  std::string Describe(Part part, const TaskId& id) const;

  std::string dir_;
  UniqueFd lock_;
  std::array<UniqueFd, 2> parts_;  // <dir>/<part>/tasks
};

}  // namespace dragonfly::storage
