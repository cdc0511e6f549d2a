// SPDX-License-Identifier: Apache-2.0
// What makes a content trustworthy again: reading it back at start, checking what a power cut or a user may have
// damaged, and telling the log what has reached the disk. The rules are in docs/storage.md.
#include <fcntl.h>
#include <sys/stat.h>
#include <unistd.h>

#include <cerrno>
#include <utility>

#include "base/status.h"
#include "base/text.h"
#include "storage/content_state.h"
#include "telemetry/log.h"

namespace dragonfly::storage {
namespace {

// A time of change this young may not move when the file changes once more: kernels stamp files by the tick.
constexpr int64_t kStampSettlesNs = 100'000'000;
// Blocks that a file may have beyond its finished pieces before they are worth giving back.
constexpr uint64_t kSpareBlocksMax = 1 << 20;

absl::StatusOr<std::string> ReadLog(int fd, uint64_t size) {
  if (size > kTaskLogBytesMax) return absl::DataLossError("metadata: too long");
  std::string bytes(size, '\0');
  DF_ASSIGN_OR_RETURN(const size_t got, ReadAt(fd, std::as_writable_bytes(std::span(bytes)), 0));
  bytes.resize(got);
  return bytes;
}

}  // namespace

absl::StatusOr<std::shared_ptr<TaskContent::State>> TaskContent::State::Load(std::shared_ptr<StoreContext> store,
                                                                             const TaskId& id) {
  DF_ASSIGN_OR_RETURN(UniqueFd log_fd, store->directory->OpenLog(id));
  DF_ASSIGN_OR_RETURN(const FileStamp log_stamp, StampOf(log_fd.get()));
  DF_ASSIGN_OR_RETURN(const std::string bytes, ReadLog(log_fd.get(), log_stamp.size));
  DF_ASSIGN_OR_RETURN(TaskLog log, ParseTaskLog(bytes, id, store->boot_id));
  DF_ASSIGN_OR_RETURN(const UniqueFd content, store->directory->OpenContent(id));
  struct stat st;
  if (::fstat(content.get(), &st) != 0) return ErrnoStatus(errno, "stat");
  DF_ASSIGN_OR_RETURN(const FileStamp stamp, StampOf(content.get()));
  const bool exposed = log.exposed || st.st_nlink > 1;
  const std::optional<uint64_t> content_length = log.header.content_length;
  if (exposed && content_length && stamp.size != *content_length) {
    return absl::DataLossError("the linked output was given another length");
  }
  if (log.valid_bytes < bytes.size() && ::ftruncate(log_fd.get(), static_cast<off_t>(log.valid_bytes)) != 0) {
    return ErrnoStatus(errno, "cut the torn end of the metadata off");
  }

  auto state = std::make_shared<State>(
      store, Identity{id, log.header.piece_length, std::move(log.header.response_header), log.header.created_at});
  state->updated_us = state->touched_us = log_stamp.modified_ns / 1000;
  const bool synced_holds = log.synced_ns == stamp.modified_ns;
  bool give_blocks_back = false;
  {
    const absl::MutexLock log_lock(&state->log_mutex);
    state->store->log_files.Put(state->log_file, std::move(log_fd));
    state->log_bytes = log.valid_bytes;
    state->log_current_boot = log.current_boot;
    std::string dropped;
    {
      const absl::MutexLock lock(&state->mutex);
      if (content_length) state->layout = log.layout;
      state->exposed = exposed;
      for (const TaskLog::Piece& piece : log.pieces) {
        if (piece.record.range.end() > stamp.size) {
          dropped += EncodePieceDropped(piece.record.number);
          continue;
        }
        state->table.Insert(piece.record, !exposed && (piece.current_boot || (piece.synced && synced_holds)));
      }
      // Whatever is trusted or not now: nothing needs a sync that had one and was not changed.
      if (state->table.untrusted_count() == 0 || synced_holds) state->log_synced_bytes = log.synced_end;
      store->space.AddContent(state->table.bytes());
      give_blocks_back = !state->CompleteLocked() && !exposed &&
                         static_cast<uint64_t>(st.st_blocks) * 512 > state->table.bytes() + kSpareBlocksMax;
      state->allocated = give_blocks_back;
    }
    absl::Status mended = dropped.empty() ? absl::OkStatus() : state->AppendLog(dropped);
    if (mended.ok() && !exposed && content_length && stamp.size != *content_length &&
        ::ftruncate(content.get(), static_cast<off_t>(*content_length)) != 0) {
      mended = ErrnoStatus(errno, "set the length of the content");
    }
    if (!mended.ok()) {
      const absl::MutexLock lock(&state->mutex);
      store->space.RemoveContent(state->table.bytes());
      return mended;
    }
  }
  if (give_blocks_back) state->ReleaseUnwritten();
  // A start may load very many; what is used will be opened again.
  store->log_files.Close(state->log_file);
  store->content_files.Close(state->content_file);
  return state;
}

absl::Status TaskContent::State::NoticeForeignChanges(int fd) {
  uint64_t generation = 0;
  {
    const absl::MutexLock lock(&mutex);
    if (!exposed) return absl::OkStatus();
    generation = file_generation;
  }
  DF_ASSIGN_OR_RETURN(const FileStamp stamp, StampOf(fd));
  {
    const absl::MutexLock lock(&mutex);
    if (generation != file_generation || stamp == known_stamp) return absl::OkStatus();
    table.DistrustAll();
    const int64_t age_ns = absl::ToUnixNanos(absl::Now()) - stamp.changed_ns;
    known_stamp.reset();
    if (age_ns >= kStampSettlesNs) known_stamp = stamp;
    if (!layout || stamp.size == layout->content_length()) return absl::OkStatus();
  }
  ResetContent(generation).IgnoreError();  // logged; the next writer tries again
  return absl::DataLossError(StrCat("task ", identity.id.str(), ": an output linked to it was given another length"));
}

absl::Status TaskContent::State::CheckPiece(const PieceRecord& record, uint64_t generation, int fd) {
  std::optional<FileStamp> stamp;
  bool shared = false;
  {
    const absl::MutexLock lock(&mutex);
    if (generation != file_generation || table.trusted(record.number)) return absl::OkStatus();
    stamp = known_stamp;
    shared = exposed;
  }
  const absl::StatusOr<uint32_t> crc = Crc32OfRange(fd, record.range);
  if (crc.ok() && *crc == record.crc32) {
    const absl::MutexLock lock(&mutex);
    // Bytes of an output that was touched this very moment are good for now only.
    if (generation == file_generation && stamp == known_stamp && (stamp || !exposed)) table.Trust(record.number);
    return absl::OkStatus();
  }
  const std::string what = StrCat(Describe(record.number), " is damaged on disk");
  DF_LOG(Warn, "storage: {}{}", what, shared ? "; an output linked to it was modified" : "");
  if (shared) {
    ResetContent(generation).IgnoreError();  // logged; the next writer tries again
  } else {
    DropPiece(record.number, generation);
  }
  return absl::DataLossError(what);
}

void TaskContent::State::DropPiece(PieceNumber number, uint64_t generation) {
  {
    const absl::MutexLock log_lock(&log_mutex);
    {
      const absl::MutexLock lock(&mutex);
      if (closed || generation != file_generation || !table.Has(number)) return;
    }
    // Unwritten, the next start would find the piece again, and check it again.
    if (!AppendLog(EncodePieceDropped(number)).ok()) log_misses_drop = true;
    const absl::MutexLock lock(&mutex);
    if (closed) return;
    const uint64_t before = table.bytes();
    table.Drop(number);
    store->space.RemoveContent(before - table.bytes());
  }
  changes.Notify();
}

absl::Status TaskContent::State::ResetContent(uint64_t generation) {
  absl::Status made;
  {
    const absl::MutexLock log_lock(&log_mutex);
    uint64_t length = 0;
    {
      const absl::MutexLock lock(&mutex);
      if (closed) return ended;
      if (generation != file_generation) return absl::OkStatus();
      length = layout ? layout->content_length() : 0;
    }
    // The log still says that the file is shared, so a crash in here leaves pieces that the next start checks.
    absl::StatusOr<UniqueFd> fresh = store->directory->CreateContent(identity.id);
    if (fresh.ok() && ::ftruncate(fresh->get(), static_cast<off_t>(length)) != 0) {
      fresh = ErrnoStatus(errno, StrCat("set the length of ", path));
    }
    if (fresh.ok()) {
      if (!AppendLog(EncodeContentReset()).ok()) log_misses_drop = true;
    } else {
      made = fresh.status();
      DF_LOG(Error, "storage: {}", made.ToString());
    }
    const absl::MutexLock lock(&mutex);
    if (closed) return ended;
    ++file_generation;
    store->content_files.Close(content_file);
    if (fresh.ok()) store->content_files.Put(content_file, *std::move(fresh));
    store->space.RemoveContent(table.bytes());
    table.DropAll();
    // Without a new file the name may still lead to the user's.
    exposed = !made.ok();
    known_stamp.reset();
    allocated = false;
  }
  changes.Notify();
  return made;
}

absl::Status TaskContent::State::LeaveExposedFile(PieceNumber for_piece) {
  uint64_t generation = 0;
  {
    const absl::MutexLock lock(&mutex);
    // With a writer, its pieces are being taken over in place; see AddPieceInPlace().
    if (!exposed || closed || !writers.empty() || !RangeOf(for_piece).ok() || table.Has(for_piece)) {
      return absl::OkStatus();
    }
    generation = file_generation;
  }
  return ResetContent(generation);
}

void TaskContent::State::SyncInBackground() {
  if (store->keep) store->sync.Add(shared_from_this());
}

bool TaskContent::State::PrepareSync() {
  const absl::MutexLock log_lock(&log_mutex);
  if (closed || log_misses_drop || log_bytes == log_synced_bytes) return false;
  sync_covers = log_bytes;
  const absl::MutexLock lock(&mutex);
  // Of what waits for a check nobody knows whether the disk has it. Shared files are checked after a start anyway.
  return table.untrusted_count() == 0 || exposed;
}

absl::Status TaskContent::State::SyncFiles() {
  DF_ASSIGN_OR_RETURN(const std::shared_ptr<const UniqueFd> file, ContentFile());
  // Not fdatasync(2): the time of modification must reach the disk too, the record is compared with it.
  if (::fsync(file->get()) != 0) return ErrnoStatus(errno, StrCat("sync ", path));
  const std::shared_ptr<const UniqueFd> log = log_file.Get();
  if (log != nullptr && ::fdatasync(log->get()) != 0) return ErrnoStatus(errno, StrCat("sync metadata of ", path));
  return absl::OkStatus();
}

absl::Status TaskContent::State::SyncNames() const {
  const std::string& dir = store->directory->dir();
  const std::string group = identity.id.str().substr(0, 3);
  for (const std::string part : {"/content", "/metadata"}) {
    for (const std::string& name : {StrCat(dir, part, "/tasks/", group), StrCat(dir, part, "/tasks")}) {
      const UniqueFd fd(::open(name.c_str(), O_RDONLY | O_DIRECTORY | O_CLOEXEC));
      if (!fd.valid() || ::fsync(fd.get()) != 0) return ErrnoStatus(errno, StrCat("sync ", name));
    }
  }
  return absl::OkStatus();
}

absl::Status TaskContent::Sync() {
  DF_RETURN_IF_ERROR(state_->SyncFiles());
  return state_->SyncNames();
}

void TaskContent::State::RecordSync() {
  const absl::StatusOr<std::shared_ptr<const UniqueFd>> file = ContentFile();
  if (!file.ok()) return;
  const absl::StatusOr<FileStamp> stamp = StampOf((*file)->get());
  if (!stamp.ok()) return;
  const absl::MutexLock log_lock(&log_mutex);
  const bool all = sync_covers == log_bytes;
  // The record itself may be lost: then the pieces are checked once more than needed.
  if (log_misses_drop || !AppendLog(EncodeSynced(sync_covers, stamp->modified_ns)).ok()) return;
  if (all) log_synced_bytes = log_bytes;
}

}  // namespace dragonfly::storage
