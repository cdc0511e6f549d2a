// SPDX-License-Identifier: Apache-2.0
// Persistent cache tasks on this host: imports, downloads, what is kept and for how long. See docs/persistent-cache.md.
//
//   <storage.dir>/persistent-cache/content, metadata   the contents, as those of standard tasks (docs/storage.md)
//   <storage.dir>/persistent-cache/records             what is promised to be kept
#pragma once

#include <boost/asio/awaitable.hpp>
#include <functional>
#include <memory>
#include <optional>
#include <string>
#include <vector>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "base/ids.h"
#include "daemon/config.h"
#include "daemon/host_identity.h"
#include "daemon/persistent_records.h"
#include "daemon/probe.h"
#include "daemon/task_manager.h"
#include "runtime/blocking_pool.h"
#include "runtime/io_threads.h"
#include "storage/content_store.h"

namespace common::v2 {
class PersistentCacheTask;
}

namespace dragonfly::daemon {

class PersistentLink;

struct PersistentImport {
  PersistentImport() = default;
  std::string path;                    // of the file, absolute
  std::optional<std::string> content;  // named by this text instead of by the bytes of the file
  uint64_t replica_count = 2;
  std::string tag, application;
  std::optional<uint64_t> piece_length;
  absl::Duration ttl;
  bool hard_link = false;  // the file itself may become the copy, by one more name
};

// How the first copy came to its bytes; kNone: it was there already.
enum class ImportMethod { kNone, kCopy, kReflink, kHardLink };

struct PersistentImported {
  PersistentImported() = default;
  std::unique_ptr<common::v2::PersistentCacheTask> task;
  ImportMethod method = ImportMethod::kNone;
};

// How far an import is.
struct ImportProgress {
  ImportProgress() = default;
  uint64_t length = 0;  // bytes of the file
  uint64_t named = 0;   // read to name it; 0 when it is not named by its bytes
  uint64_t stored = 0;
};

class ImportObserver {
 public:
  virtual ~ImportObserver() = default;
  virtual boost::asio::awaitable<absl::Status> Advanced(const ImportProgress& progress) = 0;
};

struct PersistentDownloadRequest {
  explicit PersistentDownloadRequest(TaskId task) : id(std::move(task)) {}
  TaskId id;
  bool persistent = false;
  bool replica = false;  // asked by a scheduler, perhaps while the import still goes on
  std::string tag, application;
  // Of the caller on this host only.
  std::string output_path;
  bool force_hard_link = false;
  bool overwrite = false;
  std::optional<std::string> digest;
};

// One caller's view of a download; as DownloadObserver.
class PersistentObserver {
 public:
  virtual ~PersistentObserver() = default;
  virtual boost::asio::awaitable<absl::Status> Started(const std::string& peer_id,
                                                       std::shared_ptr<storage::TaskContent> content) = 0;
  virtual boost::asio::awaitable<absl::Status> PieceReady(const storage::PieceRecord& record) = 0;
};

// A copy on this host.
struct PersistentCopy {
  explicit PersistentCopy(PersistentRecord r) : record(std::move(r)) {}
  PersistentRecord record;
  std::shared_ptr<storage::TaskContent> content;
};

// Thread rule: every method from any thread; coroutines resume on the caller's executor.
class PersistentTasks {
 public:
  struct Parts {
    const DaemonConfig& config;
    HostIdentity identity;
    runtime::IoThreads& io;
    runtime::BlockingPool& blocking;
    TaskManager& tasks;  // whose lanes fetch
    PersistentLink& link;
    rpc::ChannelPool& channels;
    Probe& probe;
  };
  // Reads what is there, and removes what was never promised. Blocks. Everything of `parts` must outlive it.
  static absl::StatusOr<std::unique_ptr<PersistentTasks>> Open(Parts parts);
  // Stop() must have completed.
  ~PersistentTasks();

  // Begins to look after the copies: those whose time is over go, those that the scheduler has forgotten are told to it
  // again, and those that nobody has promised to keep make room.
  void Start();
  boost::asio::awaitable<void> Stop();

  // Returns when the first copy is on the disk and the scheduler has taken it. After an error nothing is left, here and
  // at the scheduler. An import goes on to its end when the caller leaves. Errors: INVALID_ARGUMENT naming the field;
  // NOT_FOUND and others of the file; RESOURCE_EXHAUSTED "no space left on device: ..."; ABORTED when the file changed
  // meanwhile; the scheduler's. `observer` may be null; its error ends the call, not the import.
  boost::asio::awaitable<absl::StatusOr<PersistentImported>> Import(PersistentImport request, ImportObserver* observer);

  // Brings the task to this host, and makes the output. Errors: the scheduler's; the causes when no peer gave it; those
  // of the output.
  boost::asio::awaitable<absl::Status> Download(PersistentDownloadRequest request, PersistentObserver& observer);

  // Keeps the copy until the task's time is over. Errors: INTERNAL "task <id> not found".
  boost::asio::awaitable<absl::Status> Keep(TaskId id);
  // Removes the copy from this host. One that is not here is no error.
  boost::asio::awaitable<absl::Status> DeleteLocal(TaskId id);

  boost::asio::awaitable<absl::StatusOr<std::unique_ptr<common::v2::PersistentCacheTask>>> Stat(TaskId id);
  // At the scheduler, and with it every copy.
  boost::asio::awaitable<absl::Status> DeleteEverywhere(TaskId id);
  // Those of `ids` of which there is no whole copy here. A copy whose file is gone is forgotten.
  boost::asio::awaitable<absl::StatusOr<std::vector<std::string>>> FindMissing(std::vector<TaskId> ids);
  std::optional<PersistentCopy> Find(const TaskId& id) const;
  std::vector<PersistentCopy> List() const;

  // For who serves pieces: the content, complete or on its way. Waits until `deadline` for one whose download begins.
  boost::asio::awaitable<absl::StatusOr<std::shared_ptr<storage::TaskContent>>> WhenContent(TaskId id,
                                                                                            TimePoint deadline);
  bool Running(const TaskId& id) const;
  storage::ContentStore& store();
  const HostIdentity& identity() const;
  runtime::BlockingPool& blocking();
  Probe& probe();
  // How long an import lives whose request does not say.
  absl::Duration default_ttl() const;

 private:
  struct State;
  explicit PersistentTasks(std::shared_ptr<State> state);
  std::shared_ptr<State> state_;
};

}  // namespace dragonfly::daemon
