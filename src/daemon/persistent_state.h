// SPDX-License-Identifier: Apache-2.0
// What the parts of PersistentTasks share. Internal to it.
#pragma once

#include <atomic>
#include <map>
#include <memory>
#include <optional>
#include <string>
#include <utility>
#include <vector>

#include "absl/base/thread_annotations.h"
#include "absl/synchronization/mutex.h"
#include "common/v2/common.pb.h"
#include "daemon/io_groups.h"
#include "daemon/lane.h"
#include "daemon/output.h"
#include "daemon/persistent_link.h"
#include "daemon/persistent_source.h"
#include "daemon/persistent_tasks.h"
#include "daemon/wishes.h"
#include "runtime/signal.h"

namespace dragonfly::daemon {

// A download or an import of one task that is going on.
struct PersistentWork {
  runtime::Signal changed;
  mutable absl::Mutex mutex;
  std::string peer_id ABSL_GUARDED_BY(mutex);
  std::shared_ptr<storage::TaskContent> content ABSL_GUARDED_BY(mutex);
  std::optional<absl::Status> outcome ABSL_GUARDED_BY(mutex);
  bool here ABSL_GUARDED_BY(mutex) = false;  // complete, with its record; the scheduler is still being told
  std::optional<common::v2::PersistentCacheTask> imported ABSL_GUARDED_BY(mutex);
  ImportMethod method ABSL_GUARDED_BY(mutex) = ImportMethod::kNone;

  std::shared_ptr<storage::TaskContent> Content() const {
    const absl::MutexLock lock(&mutex);
    return content;
  }
  std::optional<absl::Status> Outcome() const {
    const absl::MutexLock lock(&mutex);
    return outcome;
  }
  bool Here() const {
    const absl::MutexLock lock(&mutex);
    return here;
  }
  void SetHere() {
    {
      const absl::MutexLock lock(&mutex);
      here = true;
    }
    changed.Notify();
  }
  void SetContent(std::string peer, std::shared_ptr<storage::TaskContent> made) {
    {
      const absl::MutexLock lock(&mutex);
      peer_id = std::move(peer);
      content = std::move(made);
    }
    changed.Notify();
  }
  void End(const absl::Status& how) {
    {
      const absl::MutexLock lock(&mutex);
      if (!outcome) outcome = how;
    }
    changed.Notify();
  }
};

struct PersistentTasks::State {
  State(Parts p, std::unique_ptr<storage::ContentStore> contents, std::unique_ptr<PersistentRecords> kept)
      : parts(std::move(p)), store(std::move(contents)), records(std::move(kept)), groups(parts.io) {}

  using Work = std::shared_ptr<PersistentWork>;

  // The work on `id`, begun when there is none; `mine` tells which.
  Work Join(const TaskId& id, bool* mine);
  Work FindWork(const TaskId& id) const;
  // The work is over, and the next may begin.
  void EndWork(const TaskId& id, const Work& work, const absl::Status& how);
  std::string NewPeerId() const;
  // Content and record, on the disk when it returns; of a copy that nobody has promised to keep the content follows
  // soon. Blocks.
  absl::Status MakeDurable(storage::TaskContent& content, const PersistentRecord& record);
  // Blocks.
  absl::Status Remove(const TaskId& id);
  // Whether the copy that was told of is here, with its file. Blocks.
  bool IsWhole(const TaskId& id) const;
  // Removes what is left of a copy whose file somebody has removed. Blocks.
  absl::Status ForgetLost(const TaskId& id);

  // persistent_import.cc
  using Source = std::shared_ptr<PersistentSource>;
  boost::asio::awaitable<absl::StatusOr<TaskId>> NameOf(const PersistentImport& request, const Source& source,
                                                        ImportObserver* observer, ImportProgress* progress);
  boost::asio::awaitable<void> RunImport(TaskId id, PersistentImport request, Source source, Work work);
  boost::asio::awaitable<absl::Status> ImportBody(const TaskId& id, const PersistentImport& request,
                                                  const Source& source, Work work);
  // A content for the file, with its bytes when they need not be copied, or with room for them. Blocks.
  struct Place {
    Place() = default;
    std::shared_ptr<storage::TaskContent> content;
    ImportMethod method = ImportMethod::kCopy;
  };
  absl::StatusOr<Place> MakePlace(const TaskId& id, const PersistentSource& source, bool hard_link);

  // Takes an import back, here and at the scheduler; what the scheduler cannot be told now it is told by the upkeep.
  boost::asio::awaitable<void> Undo(PersistentRecord record, absl::Status why);

  // persistent_download.cc
  boost::asio::awaitable<absl::Status> Bring(PersistentDownloadRequest request, OutputRequest output,
                                             PersistentObserver& observer);
  boost::asio::awaitable<void> RunDownload(PersistentDownloadRequest request, common::v2::PersistentCacheTask task,
                                           Work work);
  boost::asio::awaitable<absl::Status> Fetch(const PersistentDownloadRequest& request,
                                             const common::v2::PersistentCacheTask& task, const Work& work,
                                             PersistentSession& session, const std::string& peer_id);

  // persistent_upkeep.cc
  boost::asio::awaitable<void> LookAfter();
  boost::asio::awaitable<void> LookAfter(PersistentRecord record);
  boost::asio::awaitable<void> Check(PersistentRecord record);
  boost::asio::awaitable<absl::Status> TellAgain(PersistentRecord record);
  boost::asio::awaitable<void> MakeRoom();

  const Parts parts;
  const std::unique_ptr<storage::ContentStore> store;
  const std::unique_ptr<PersistentRecords> records;
  mutable absl::Mutex mutex;
  std::atomic<bool> stopped = false;
  std::map<std::string, Work> running ABSL_GUARDED_BY(mutex);
  std::map<std::string, int> forgotten;  // looks at which nobody knew the task; of LookAfter() alone
  IoGroups groups;
};

}  // namespace dragonfly::daemon
