// SPDX-License-Identifier: Apache-2.0
#include "storage/content_state.h"

#include <fcntl.h>
#include <sys/stat.h>
#include <unistd.h>

#include <cerrno>
#include <utility>

#include "base/status.h"
#include "base/text.h"
#include "telemetry/log.h"

namespace dragonfly::storage {
namespace {

// A kept content's time of last use is written down this often.
constexpr int64_t kTouchIntervalUs = 60'000'000;

}  // namespace

TaskContent::State::State(std::shared_ptr<StoreContext> store_context, Identity known)
    : store(std::move(store_context)),
      identity(std::move(known)),
      path(store->directory->ContentPath(identity.id)),
      content_file(store->content_files),
      log_file(store->log_files),
      table(identity.piece_length) {
  updated_us = touched_us = absl::ToUnixMicros(identity.created_at);
}

TaskContent::State::~State() = default;

absl::StatusOr<std::shared_ptr<TaskContent::State>> TaskContent::State::Create(std::shared_ptr<StoreContext> store,
                                                                               const TaskId& id,
                                                                               const TaskLogHeader& header) {
  std::optional<PieceLayout> layout;
  if (header.content_length) {
    DF_ASSIGN_OR_RETURN(layout, PieceLayout::Make(*header.content_length, header.piece_length));
  }
  auto state = std::make_shared<State>(std::move(store),
                                       Identity{id, header.piece_length, header.response_header, header.created_at});
  const StoreDirectory& directory = *state->store->directory;
  // Content first: metadata then implies a file.
  DF_ASSIGN_OR_RETURN(UniqueFd content, directory.CreateContent(id));
  if (layout && ::ftruncate(content.get(), static_cast<off_t>(layout->content_length())) != 0) {
    const absl::Status status = ErrnoStatus(errno, StrCat("set the length of ", state->path));
    (void)directory.Remove(id);
    return status;
  }
  absl::StatusOr<UniqueFd> log = directory.CreateLog(id);
  absl::Status written = log.status();
  if (written.ok()) {
    const absl::MutexLock lock(&state->log_mutex);
    state->store->log_files.Put(state->log_file, *std::move(log));
    state->log_current_boot = true;  // the header says so
    written = state->AppendLog(EncodeTaskLogHeader(id, header));
  }
  if (!written.ok()) {
    (void)directory.Remove(id);
    return written;
  }
  state->store->content_files.Put(state->content_file, std::move(content));
  const absl::MutexLock lock(&state->mutex);
  state->layout = layout;
  return state;
}

absl::Status TaskContent::State::ReserveWanted(const std::optional<ByteRange>& wanted) {
  const absl::ReaderMutexLock blocks(&blocks_mutex);
  PieceBitmap added;
  PieceLayout::Interval interval;
  ByteRange extent;
  {
    const absl::MutexLock lock(&mutex);
    if (!layout || layout->piece_count() == 0 || CompleteLocked()) return absl::OkStatus();
    ByteRange range{0, layout->content_length()};
    if (wanted) {
      // The range belongs to the caller's shape, which need not be this content's.
      const absl::StatusOr<ByteRange> inside = ClampRange(wanted->offset, wanted->length, layout->content_length());
      if (!inside.ok()) return absl::OkStatus();
      range = *inside;
    }
    interval = layout->PiecesOf(range);
    uint64_t bytes = 0;
    for (PieceNumber number = interval.first; number <= interval.last; number = number.next()) {
      if (table.Has(number) || promised.Test(number) || writers.contains(number.value())) continue;
      added.Set(number);
      bytes += layout->RangeOf(number).length;
    }
    if (bytes == 0) return absl::OkStatus();
    DF_ASSIGN_OR_RETURN(Reservation reservation, store->space.Reserve(bytes));
    for (auto number = added.NextFrom(interval.first); number; number = added.NextFrom(number->next())) {
      promised.Set(*number);
    }
    reserved.Add(std::move(reservation));
    extent.offset = layout->RangeOf(interval.first).offset;
    extent.length = layout->RangeOf(interval.last).end() - extent.offset;
    // The pieces will be in another file: see LeaveExposedFile().
    if (exposed) return absl::OkStatus();
  }

  DF_ASSIGN_OR_RETURN(const std::shared_ptr<const UniqueFd> file, ContentFile());
  int error = 0;
  do {
    error = ::fallocate(file->get(), FALLOC_FL_KEEP_SIZE, static_cast<off_t>(extent.offset),
                        static_cast<off_t>(extent.length)) == 0
                ? 0
                : errno;
  } while (error == EINTR);
  const absl::MutexLock lock(&mutex);
  if (error == ENOSPC || error == EDQUOT) {
    for (auto number = added.NextFrom(interval.first); number; number = added.NextFrom(number->next())) {
      if (!promised.Test(*number)) continue;  // a writer has it
      promised.Clear(*number);
      (void)reserved.Take(layout->RangeOf(*number).length);
    }
    return store->space.FullStatus(extent.length);
  }
  // Elsewhere (EOPNOTSUPP, old kernels) blocks come with the writes; the reservation then stands in for them.
  if (error == 0) {
    reserved.MarkAllocated();
    allocated = true;
  }
  return absl::OkStatus();
}

void TaskContent::State::ReleaseUnwritten() {
  // No piece is begun meanwhile, so a hole cannot fall on bytes that are being written.
  const absl::WriterMutexLock blocks(&blocks_mutex);
  std::vector<ByteRange> holes;
  Reservation released;
  {
    const absl::MutexLock lock(&mutex);
    released = std::move(reserved);
    promised.ClearAll();
    if (!allocated || !layout || exposed || closed) return;
    allocated = !writers.empty();
    for (PieceNumber number(0); layout->Contains(number); number = number.next()) {
      if (table.Has(number) || writers.contains(number.value())) continue;
      const ByteRange range = layout->RangeOf(number);
      if (!holes.empty() && holes.back().end() == range.offset) {
        holes.back().length += range.length;
      } else {
        holes.push_back(range);
      }
    }
  }
  const absl::StatusOr<std::shared_ptr<const UniqueFd>> file = ContentFile();
  if (!file.ok()) return;
  for (const ByteRange& hole : holes) {
    (void)::fallocate((*file)->get(), FALLOC_FL_PUNCH_HOLE | FALLOC_FL_KEEP_SIZE, static_cast<off_t>(hole.offset),
                      static_cast<off_t>(hole.length));
  }
}

absl::StatusOr<std::shared_ptr<const UniqueFd>> TaskContent::State::ContentFile() {
  for (;;) {
    if (std::shared_ptr<const UniqueFd> file = content_file.Get()) return file;
    uint64_t generation = 0;
    {
      const absl::MutexLock lock(&mutex);
      if (pinned != nullptr) return pinned;
      generation = file_generation;
    }
    absl::StatusOr<UniqueFd> opened = store->directory->OpenContent(identity.id);
    // Close() comes before the name can pass to another content.
    if (closed) return ClosedStatus();
    if (!opened.ok()) return opened.status();
    const absl::MutexLock lock(&mutex);
    if (generation == file_generation) return store->content_files.Put(content_file, *std::move(opened));
  }
}

absl::Status TaskContent::State::SetFileLength(uint64_t length) {
  DF_ASSIGN_OR_RETURN(const std::shared_ptr<const UniqueFd> file, ContentFile());
  if (::ftruncate(file->get(), static_cast<off_t>(length)) == 0) return absl::OkStatus();
  return ErrnoStatus(errno, StrCat("set the length of ", path));
}

absl::Status TaskContent::State::AppendLog(std::string_view records) {
  if (closed) return ClosedStatus();
  if (log_broken) return absl::InternalError(StrCat("task ", identity.id.str(), ": metadata cannot be written"));
  std::shared_ptr<const UniqueFd> file = log_file.Get();
  if (file == nullptr) {
    DF_ASSIGN_OR_RETURN(UniqueFd opened, store->directory->OpenLog(identity.id));
    if (closed) return ClosedStatus();
    file = store->log_files.Put(log_file, std::move(opened));
  }
  std::string with_boot;
  if (!log_current_boot && store->boot_id) {
    with_boot = EncodeBoot(*store->boot_id);
    with_boot.append(records);
    records = with_boot;
  }
  ssize_t n = 0;
  do {
    n = ::write(file->get(), records.data(), records.size());
  } while (n < 0 && errno == EINTR);
  if (n == static_cast<ssize_t>(records.size())) {
    log_bytes += records.size();
    log_current_boot = log_current_boot || !with_boot.empty();
    return absl::OkStatus();
  }
  const int error = n < 0 ? errno : ENOSPC;  // a file is written short when the disk is full
  // A torn record would hide all that come behind it.
  if (n > 0 && ::ftruncate(file->get(), static_cast<off_t>(log_bytes)) != 0) log_broken = true;
  return ErrnoStatus(error, StrCat("task ", identity.id.str(), ": write metadata"));
}

void TaskContent::State::Close(const absl::Status& why, bool pin) {
  std::shared_ptr<const UniqueFd> file;
  if (pin) {
    if (absl::StatusOr<std::shared_ptr<const UniqueFd>> opened = ContentFile(); opened.ok()) file = *std::move(opened);
  }
  Reservation released;
  {
    const absl::MutexLock lock(&mutex);
    if (closed) return;
    ended = why;
    closed = true;
    pinned = std::move(file);
    released = std::move(reserved);
    promised.ClearAll();
  }
  changes.Notify();
}

absl::StatusOr<PieceLayout> TaskContent::State::CompleteLayout() const {
  const absl::MutexLock lock(&mutex);
  if (!CompleteLocked()) return absl::FailedPreconditionError(StrCat("task ", identity.id.str(), " is not complete"));
  return *layout;
}

bool TaskContent::State::ReplaceableBy(const std::optional<uint64_t>& content_length, uint64_t piece_length) const {
  const absl::MutexLock lock(&mutex);
  std::optional<uint64_t> own_length;
  if (layout) own_length = layout->content_length();
  if (own_length == content_length && identity.piece_length == piece_length) return false;
  if (!writers.empty()) return false;
  if (table.count() == 0) return true;
  // An unknown length contradicts nothing.
  return !CompleteLocked() && content_length && own_length != content_length;
}

absl::Status TaskContent::State::ClosedStatus() const {
  const absl::MutexLock lock(&mutex);
  return closed ? ended : absl::OkStatus();
}

void TaskContent::State::Touch() {
  const int64_t now = absl::ToUnixMicros(absl::Now());
  updated_us.store(now, std::memory_order_relaxed);
  if (!store->keep) return;
  int64_t touched = touched_us.load(std::memory_order_relaxed);
  if (now - touched < kTouchIntervalUs || closed) return;
  if (touched_us.compare_exchange_strong(touched, now)) store->directory->TouchLog(identity.id);
}

absl::StatusOr<ByteRange> TaskContent::State::RangeOf(PieceNumber number) const {
  if (layout) {
    if (layout->Contains(number)) return layout->RangeOf(number);
    return absl::OutOfRangeError(StrCat(Describe(number), " is not one of its ", layout->piece_count(), " pieces"));
  }
  const uint64_t length = identity.piece_length;
  if (number.value() >= kPieceCountMax || number.value() >= INT64_MAX / length) {
    return absl::OutOfRangeError(StrCat(Describe(number), " is behind the end of any file"));
  }
  return ByteRange{number.value() * length, length};
}

std::string TaskContent::State::Describe(PieceNumber number) const {
  return StrCat("task ", identity.id.str(), ": piece ", number.value());
}

}  // namespace dragonfly::storage
