// SPDX-License-Identifier: Apache-2.0
// What stands behind TaskContent and PieceWriter. Internal to storage.
#pragma once

#include <atomic>
#include <functional>
#include <map>
#include <memory>
#include <optional>
#include <string>
#include <string_view>

#include "absl/base/thread_annotations.h"
#include "absl/container/flat_hash_set.h"
#include "absl/status/statusor.h"
#include "absl/synchronization/mutex.h"
#include "absl/time/time.h"
#include "runtime/signal.h"
#include "storage/background_sync.h"
#include "storage/content_store.h"
#include "storage/file_io.h"
#include "storage/open_files.h"
#include "storage/piece_table.h"
#include "storage/space_account.h"
#include "storage/store_directory.h"
#include "storage/task_content.h"
#include "storage/task_log.h"

namespace dragonfly::storage {

class OutputPath;

// Idle descriptors that a store keeps open.
inline constexpr size_t kOpenContentsMax = 1024;
inline constexpr size_t kOpenLogsMax = 256;

// What all contents of one store share. Lives as long as the last content.
struct StoreContext {
  StoreContext(std::unique_ptr<StoreDirectory> opened, bool keep_contents, uint64_t capacity_bytes)
      : directory(std::move(opened)),
        keep(keep_contents),
        space(directory->content_fd(), directory->dir(), capacity_bytes) {}

  // Asks the room maker for `bytes`; whether any were freed. No lock of a content or task may be held.
  bool MakeRoom(const TaskId& keep_task, uint64_t bytes) ABSL_LOCKS_EXCLUDED(room_mutex) {
    std::shared_ptr<const RoomMaker> maker;
    {
      const absl::MutexLock lock(&room_mutex);
      maker = room_maker;
    }
    return maker != nullptr && *maker && (*maker)(keep_task, bytes) > 0;
  }

  const std::unique_ptr<StoreDirectory> directory;
  const bool keep;
  const std::optional<BootId> boot_id = CurrentBootId();
  SpaceAccount space;
  OpenFiles content_files{kOpenContentsMax};
  OpenFiles log_files{kOpenLogsMax};
  BackgroundSync sync{directory->content_fd()};
  absl::Mutex room_mutex;
  std::shared_ptr<const RoomMaker> room_maker ABSL_GUARDED_BY(room_mutex);
};

// One content. Three locks, taken in this order and never across the I/O of piece bytes:
//
//   blocks_mutex   who may hand blocks back to the file system: BeginPiece() shares it, giving back excludes it
//   log_mutex      the log and what must change together with it
//   mutex          the table in memory; held for moments
//
// Thread rule: every method from any thread unless it says more.
struct TaskContent::State final : Syncable, std::enable_shared_from_this<TaskContent::State> {
  struct Identity {
    TaskId id;
    uint64_t piece_length;
    std::map<std::string, std::string> response_header;
    absl::Time created_at;
  };

  State(std::shared_ptr<StoreContext> store_context, Identity known);
  ~State() override;

  // Making and loading; before anybody else sees the state.
  static absl::StatusOr<std::shared_ptr<State>> Create(std::shared_ptr<StoreContext> store, const TaskId& id,
                                                       const TaskLogHeader& header);
  // DATA_LOSS, NOT_FOUND and the like mean that nothing can be used of it.
  static absl::StatusOr<std::shared_ptr<State>> Load(std::shared_ptr<StoreContext> store, const TaskId& id);

  // Space: promises the unfinished pieces of `wanted` (all, when not set) to this content.
  absl::Status ReserveWanted(const std::optional<ByteRange>& wanted);
  // Gives promised bytes and the blocks behind them back; running writers keep theirs.
  void ReleaseUnwritten();

  // Files. The descriptor stays good while it is held.
  absl::StatusOr<std::shared_ptr<const UniqueFd>> ContentFile();
  absl::Status SetFileLength(uint64_t length);
  // Appends whole records with one write(2). Nothing of them is left after an error.
  absl::Status AppendLog(std::string_view records) ABSL_EXCLUSIVE_LOCKS_REQUIRED(log_mutex);

  // A reader of the file; the content is in use as long as it lives.
  class Use {
   public:
    explicit Use(std::shared_ptr<State> task) : task_(std::move(task)) { ++task_->uses; }
    Use(const Use&) = delete;
    Use& operator=(const Use&) = delete;
    ~Use() { --task_->uses; }

   private:
    const std::shared_ptr<State> task_;
  };

  // Trust: compares the piece with its checksum when something may have changed it. DATA_LOSS when it is damaged; it is
  // forgotten then, or, when the file is shared with an output, all of the content is.
  // `generation` is the file_generation that `record` and `fd` were taken at.
  absl::Status CheckPiece(const PieceRecord& record, uint64_t generation, int fd);
  // Untrusts all pieces when somebody else has touched a file that is linked to an output. DATA_LOSS when its length
  // has changed; all of the content is forgotten then.
  absl::Status NoticeForeignChanges(int fd);
  // CheckPiece() for the finished pieces [first, last], after NoticeForeignChanges().
  absl::Status CheckPieces(PieceNumber first, PieceNumber last, int fd);
  void DropPiece(PieceNumber number, uint64_t generation);
  // Leaves the file to whoever else has a link to it, and begins with an empty one; does nothing when that was done
  // since `generation`. After an error of making the new one the pieces are forgotten as well, but the content stays
  // exposed.
  absl::Status ResetContent(uint64_t generation);
  // Before a piece is written: ResetContent() when others may have a link to the file, unless the piece is not to be
  // written anyway. Errors: of ResetContent().
  absl::Status LeaveExposedFile(PieceNumber for_piece);

  // Gives the file one more name, outside; foreign changes are looked for from then on.
  absl::Status LinkTo(const OutputPath& output, bool overwrite, int fd);

  // Makes what is finished survive a power cut, later and elsewhere.
  void SyncInBackground();
  bool PrepareSync() override;
  absl::Status SyncFiles() override;
  void RecordSync() override;
  // Makes the names of its files survive a power cut.
  absl::Status SyncNames() const;

  // Lifecycle. After Close() nothing is written, and waiters get `why`. `pin` keeps the file open for who still reads.
  void Close(const absl::Status& why, bool pin);
  // True when a content of the given shape should take this one's place (ContentStore::FindOrCreate()).
  bool ReplaceableBy(const std::optional<uint64_t>& content_length, uint64_t piece_length) const;
  // What Close() was told; OK before.
  absl::Status ClosedStatus() const ABSL_LOCKS_EXCLUDED(mutex);
  void Touch();

  bool CompleteLocked() const ABSL_SHARED_LOCKS_REQUIRED(mutex) {
    return layout && table.count() == layout->piece_count();
  }
  // Errors: FAILED_PRECONDITION while it is not complete.
  absl::StatusOr<PieceLayout> CompleteLayout() const ABSL_LOCKS_EXCLUDED(mutex);
  bool HasRangeLocked(const ByteRange& range) const ABSL_SHARED_LOCKS_REQUIRED(mutex);
  // How a wait for `number` that began after `failures_before` calls of Fail() ends; nullopt: not yet.
  std::optional<absl::Status> OutcomeOf(PieceNumber number, uint64_t failures_before) const;
  static boost::asio::awaitable<absl::Status> WhenFinished(std::shared_ptr<State> task, PieceNumber number,
                                                           uint64_t failures_before, TimePoint deadline);
  // Where piece `number` lies; of unknown length: the longest. OUT_OF_RANGE when there is no such piece.
  absl::StatusOr<ByteRange> RangeOf(PieceNumber number) const ABSL_SHARED_LOCKS_REQUIRED(mutex);
  // "task <id>: piece <n>"
  std::string Describe(PieceNumber number) const;

  const std::shared_ptr<StoreContext> store;
  const Identity identity;
  const std::string path;
  runtime::Signal changes;
  std::atomic<int64_t> updated_us = 0;    // since the epoch
  std::atomic<Clock::rep> confirmed = 0;  // ticks of Clock; 0: never
  std::atomic<Clock::rep> confirmed_openly = 0;
  std::atomic<int64_t> touched_us = 0;  // the same, as the log's time of modification tells it
  std::atomic<int64_t> uses = 0;        // readers and exports
  std::atomic<bool> closed = false;     // Close() was called; set before any file goes

  absl::Mutex blocks_mutex ABSL_ACQUIRED_BEFORE(log_mutex);
  absl::Mutex log_mutex ABSL_ACQUIRED_BEFORE(mutex);
  mutable absl::Mutex mutex;

  OpenFiles::Slot content_file;
  OpenFiles::Slot log_file;
  uint64_t log_bytes ABSL_GUARDED_BY(log_mutex) = 0;
  bool log_current_boot ABSL_GUARDED_BY(log_mutex) = false;  // a record of this kernel run is in the log
  bool log_broken ABSL_GUARDED_BY(log_mutex) = false;        // its end is torn and could not be cut off
  bool log_misses_drop ABSL_GUARDED_BY(log_mutex) =
      false;  // it names a damaged piece as finished: never call it synced
  uint64_t log_synced_bytes ABSL_GUARDED_BY(log_mutex) = 0;  // log_bytes when all of it was on the disk
  uint64_t sync_covers ABSL_GUARDED_BY(log_mutex) = 0;       // log_bytes when the running sync began

  std::optional<PieceLayout> layout ABSL_GUARDED_BY(mutex);
  PieceTable table ABSL_GUARDED_BY(mutex);
  absl::flat_hash_set<uint32_t> writers ABSL_GUARDED_BY(mutex);
  PieceBitmap promised ABSL_GUARDED_BY(mutex);  // pieces whose bytes are in `reserved`
  Reservation reserved ABSL_GUARDED_BY(mutex);
  bool allocated ABSL_GUARDED_BY(mutex) = false;                      // blocks may be set aside for unfinished pieces
  absl::Status ended ABSL_GUARDED_BY(mutex);                          // Fail() or Close()
  uint64_t failures ABSL_GUARDED_BY(mutex) = 0;                       // calls of Fail()
  uint64_t file_generation ABSL_GUARDED_BY(mutex) = 0;                // counts ResetContent()
  std::optional<uint64_t> adopted_generation ABSL_GUARDED_BY(mutex);  // of the file that AdoptFile() has taken
  bool exposed ABSL_GUARDED_BY(mutex) = false;                        // others may have a link to the file: never write
  std::optional<FileStamp> known_stamp ABSL_GUARDED_BY(mutex);    // of the exposed file, when trust was last renewed
  std::shared_ptr<const UniqueFd> pinned ABSL_GUARDED_BY(mutex);  // of a deleted content: its name is gone
};

}  // namespace dragonfly::storage
