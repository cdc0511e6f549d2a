// SPDX-License-Identifier: Apache-2.0
// What this host has promised to keep: one small file a persistent cache task. It is written when the content is whole
// and on the disk, so what has none after a crash was never promised. An import has one from its beginning, which says
// that it is going on, so that after a crash the scheduler can be told. Copies that nobody has promised to keep have
// one, too, which a crash may lose.
#pragma once

#include <map>
#include <memory>
#include <optional>
#include <string>
#include <vector>

#include "absl/base/thread_annotations.h"
#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "absl/synchronization/mutex.h"
#include "absl/time/time.h"
#include "base/ids.h"

namespace dragonfly::daemon {

struct PersistentRecord {
  explicit PersistentRecord(TaskId task) : id(std::move(task)) {}
  TaskId id;
  std::string peer_id;      // of the copy, at the scheduler
  bool persistent = false;  // kept until the task's time is over, not only while there is room
  absl::Duration ttl;
  absl::Time created_at;  // of the task, from which `ttl` counts
  std::string tag, application;
  bool importing = false;  // an import that has not ended: there may be no content, and none that counts
  // Made while the import was going on, which may still fail: nobody may read it before the scheduler says that it has
  // ended well.
  bool provisional = false;

  absl::Time expires_at() const { return created_at + ttl; }
};

// Thread-safe. Put() and Remove() block on the disk.
class PersistentRecords {
 public:
  // Reads what is in `dir`, which is made when missing. A file that is no record is removed. Errors: of the file
  // system.
  static absl::StatusOr<std::unique_ptr<PersistentRecords>> Open(const std::string& dir);

  std::optional<PersistentRecord> Find(const TaskId& id) const;
  std::vector<PersistentRecord> List() const;
  // On the disk when it returns, if it is a promise or an import.
  absl::Status Put(const PersistentRecord& record);
  // One that is not there is no error.
  absl::Status Remove(const TaskId& id);

 private:
  explicit PersistentRecords(std::string dir) : dir_(std::move(dir)) {}
  absl::Status SyncDirectory() const;

  const std::string dir_;
  mutable absl::Mutex mutex_;
  std::map<std::string, PersistentRecord> records_ ABSL_GUARDED_BY(mutex_);
};

}  // namespace dragonfly::daemon
