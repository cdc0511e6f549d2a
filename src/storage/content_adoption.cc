// SPDX-License-Identifier: Apache-2.0
// Contents that begin as a file of a user: its bytes become the content's by a reflink or by one more name, and the
// pieces are only read, for their checksums.
#include <fcntl.h>
#include <linux/fs.h>
#include <sys/ioctl.h>
#include <unistd.h>

#include <cerrno>
#include <utility>

#include "base/status.h"
#include "base/text.h"
#include "storage/content_state.h"

namespace dragonfly::storage {
namespace {

// A file that was written this lately may be written once more without another time of change.
constexpr int64_t kStampSettlesNs = 100'000'000;

}  // namespace

absl::StatusOr<AdoptMethod> TaskContent::AdoptFile(int source, bool hard_link) {
  State& task = *state_;
  // No piece is begun meanwhile.
  const absl::WriterMutexLock blocks(&task.blocks_mutex);
  const absl::MutexLock log_lock(&task.log_mutex);
  uint64_t length = 0;
  bool exposed = false;
  {
    const absl::MutexLock lock(&task.mutex);
    if (task.closed) return task.ended;
    if (!task.layout || task.table.count() > 0 || !task.writers.empty()) {
      return absl::FailedPreconditionError(StrCat("task ", task.identity.id.str(), " has bytes of its own"));
    }
    length = task.layout->content_length();
    exposed = task.exposed;
  }
  DF_ASSIGN_OR_RETURN(const FileStamp before, StampOf(source));
  if (before.size != length) {
    return absl::AbortedError(
        StrCat("task ", task.identity.id.str(), ": the file has ", before.size, " instead of ", length, " bytes"));
  }

  if (!exposed) {
    DF_ASSIGN_OR_RETURN(const std::shared_ptr<const UniqueFd> own, task.ContentFile());
    if (::ioctl(own->get(), FICLONE, source) == 0) {
      const absl::MutexLock lock(&task.mutex);
      task.reserved = Reservation();
      task.promised.ClearAll();
      task.allocated = false;
      task.adopted_generation = task.file_generation;
      return AdoptMethod::kReflink;
    }
  }
  if (!hard_link) return AdoptMethod::kNone;

  const StoreDirectory& directory = *task.store->directory;
  absl::StatusOr<UniqueFd> linked = directory.LinkAside(task.identity.id, source);
  if (!linked.ok()) return AdoptMethod::kNone;
  // Told before it is so: from the rename on the file is not ours alone.
  absl::Status taken = task.AppendLog(EncodeExposed());
  if (taken.ok()) taken = directory.PublishAside(task.identity.id);
  if (!taken.ok()) {
    directory.DropAside(task.identity.id);
    return taken;
  }
  const absl::StatusOr<FileStamp> after = StampOf(linked->get());
  const absl::MutexLock lock(&task.mutex);
  task.adopted_generation = ++task.file_generation;
  task.store->content_files.Close(task.content_file);
  task.store->content_files.Put(task.content_file, *std::move(linked));
  task.reserved = Reservation();
  task.promised.ClearAll();
  task.allocated = false;
  task.exposed = true;
  task.known_stamp.reset();
  const int64_t now = absl::ToUnixNanos(absl::Now());
  if (after.ok() && now - after->modified_ns >= kStampSettlesNs) task.known_stamp = *after;
  return AdoptMethod::kHardLink;
}

absl::StatusOr<PieceRecord> TaskContent::AddPieceInPlace(PieceNumber number, std::optional<uint32_t> crc32) {
  State& task = *state_;
  const TimePoint begun = Clock::now();
  PieceRecord record;
  record.number = number;
  record.traffic_type = TrafficType::kLocalPeer;
  uint64_t generation = 0;
  {
    const absl::MutexLock lock(&task.mutex);
    if (task.closed) return task.ended;
    DF_ASSIGN_OR_RETURN(record.range, task.RangeOf(number));
    if (task.table.Has(number)) return absl::AlreadyExistsError(StrCat(task.Describe(number), " is finished"));
    if (task.adopted_generation != task.file_generation) {
      return absl::AbortedError(StrCat(task.Describe(number), ": the content file was replaced"));
    }
    if (!task.writers.insert(number.value()).second) {
      return absl::FailedPreconditionError(StrCat(task.Describe(number), " is being written"));
    }
    generation = task.file_generation;
  }
  // However this ends, the piece is free or finished then, and who waits for it looks.
  struct Ending {
    explicit Ending(State& t, PieceNumber n) : task(t), number(n) {}
    Ending(const Ending&) = delete;
    Ending& operator=(const Ending&) = delete;
    ~Ending() {
      {
        const absl::MutexLock lock(&task.mutex);
        task.writers.erase(number.value());
      }
      task.changes.Notify();
    }
    State& task;
    const PieceNumber number;
  };
  bool complete = false;
  {
    const Ending ending(task, number);
    if (!crc32) {
      DF_ASSIGN_OR_RETURN(const std::shared_ptr<const UniqueFd> file, task.ContentFile());
      absl::StatusOr<uint32_t> read = Crc32OfRange(file->get(), record.range);
      if (!read.ok()) return Annotate(read.status(), task.Describe(number));
      crc32 = *read;
    }
    record.crc32 = *crc32;
    record.cost =
        absl::Microseconds(std::chrono::duration_cast<std::chrono::microseconds>(Clock::now() - begun).count());
    record.created_at = absl::FromUnixMicros(absl::ToUnixMicros(absl::Now()));  // as precise as it is stored
    const absl::MutexLock log_lock(&task.log_mutex);
    {
      const absl::MutexLock lock(&task.mutex);
      if (task.closed) return task.ended;
      if (generation != task.file_generation) {
        return absl::AbortedError(StrCat(task.Describe(number), ": the content file was replaced"));
      }
    }
    DF_RETURN_IF_ERROR(task.AppendLog(EncodePieceFinished(record)));
    const absl::MutexLock lock(&task.mutex);
    if (task.closed) return task.ended;
    task.table.Insert(record, /*trusted=*/!task.exposed || task.known_stamp.has_value());
    task.store->space.AddContent(record.range.length);
    complete = task.CompleteLocked();
  }
  task.Touch();
  if (complete) task.SyncInBackground();
  return record;
}

void TaskContent::StartWriteback(const ByteRange& range) {
  const absl::StatusOr<std::shared_ptr<const UniqueFd>> file = state_->ContentFile();
  if (!file.ok()) return;
  (void)::sync_file_range((*file)->get(), static_cast<off64_t>(range.offset), static_cast<off64_t>(range.length),
                          SYNC_FILE_RANGE_WRITE);
}

absl::Status TaskContent::Verify() {
  State& task = *state_;
  const State::Use use(state_);
  DF_ASSIGN_OR_RETURN(const PieceLayout layout, task.CompleteLayout());
  if (layout.piece_count() == 0) return absl::OkStatus();
  DF_ASSIGN_OR_RETURN(const std::shared_ptr<const UniqueFd> file, task.ContentFile());
  return task.CheckPieces(PieceNumber(0), PieceNumber(layout.piece_count() - 1), file->get());
}

}  // namespace dragonfly::storage
