// SPDX-License-Identifier: Apache-2.0
#include "storage/task_content.h"

#include <fcntl.h>
#include <sys/stat.h>

#include <algorithm>
#include <utility>

#include "base/status.h"
#include "base/text.h"
#include "storage/content_state.h"

namespace dragonfly::storage {

namespace asio = boost::asio;

TaskContent::TaskContent(std::shared_ptr<State> state) : state_(std::move(state)) {}
TaskContent::~TaskContent() = default;

const TaskId& TaskContent::id() const { return state_->identity.id; }
const std::string& TaskContent::path() const { return state_->path; }

std::optional<PieceLayout> TaskContent::layout() const {
  const absl::MutexLock lock(&state_->mutex);
  return state_->layout;
}

std::map<std::string, std::string> TaskContent::response_header() const { return state_->identity.response_header; }
absl::Time TaskContent::created_at() const { return state_->identity.created_at; }
absl::Time TaskContent::updated_at() const {
  return absl::FromUnixMicros(state_->updated_us.load(std::memory_order_relaxed));
}

std::optional<TimePoint> TaskContent::confirmed_at() const {
  const Clock::rep ticks = state_->confirmed.load(std::memory_order_relaxed);
  if (ticks == 0) return std::nullopt;
  return TimePoint(Clock::duration(ticks));
}
void TaskContent::Confirm(TimePoint when) {
  state_->confirmed.store(when.time_since_epoch().count(), std::memory_order_relaxed);
}

std::optional<TimePoint> TaskContent::openly_confirmed_at() const {
  const Clock::rep ticks = state_->confirmed_openly.load(std::memory_order_relaxed);
  if (ticks == 0) return std::nullopt;
  return TimePoint(Clock::duration(ticks));
}
void TaskContent::ConfirmOpenly(TimePoint when) {
  state_->confirmed_openly.store(when.time_since_epoch().count(), std::memory_order_relaxed);
}

bool TaskContent::HasPiece(PieceNumber number) const {
  const absl::MutexLock lock(&state_->mutex);
  return state_->table.Has(number);
}

uint32_t TaskContent::finished_piece_count() const {
  const absl::MutexLock lock(&state_->mutex);
  return state_->table.count();
}

uint64_t TaskContent::finished_bytes() const {
  const absl::MutexLock lock(&state_->mutex);
  return state_->table.bytes();
}

bool TaskContent::complete() const {
  const absl::MutexLock lock(&state_->mutex);
  return state_->CompleteLocked();
}

bool TaskContent::HasRange(const ByteRange& range) const {
  const absl::MutexLock lock(&state_->mutex);
  return state_->HasRangeLocked(range);
}

bool TaskContent::State::HasRangeLocked(const ByteRange& range) const {
  if (layout) {
    const uint64_t content_length = layout->content_length();
    if (range.offset > content_length || range.length > content_length - range.offset) return false;
    if (range.length == 0) return true;
    const PieceLayout::Interval pieces = layout->PiecesOf(range);
    return table.HasAll(pieces.first, pieces.last);
  }
  if (range.length == 0) return true;
  if (range.length > UINT64_MAX - range.offset) return false;
  const uint64_t last = (range.end() - 1) / identity.piece_length;
  if (last >= kPieceCountMax) return false;
  const PieceNumber last_piece(static_cast<uint32_t>(last));
  if (!table.HasAll(PieceNumber(static_cast<uint32_t>(range.offset / identity.piece_length)), last_piece)) return false;
  return range.end() <= table.Find(last_piece)->range.end();  // the last piece may be short
}

std::vector<PieceRecord> TaskContent::Finished(PieceNumber first, size_t limit) const {
  const absl::MutexLock lock(&state_->mutex);
  return state_->table.Ascending(first, limit);
}

std::optional<PieceRecord> TaskContent::FindPiece(PieceNumber number) const {
  const absl::MutexLock lock(&state_->mutex);
  return state_->table.Find(number);
}

std::vector<PieceRecord> TaskContent::FinishedSince(size_t from) const {
  const absl::MutexLock lock(&state_->mutex);
  return state_->table.Since(from);
}

runtime::Signal& TaskContent::changes() { return state_->changes; }

absl::Status TaskContent::FinishLength(uint64_t content_length) {
  State& task = *state_;
  bool complete = false;
  {
    const absl::MutexLock log_lock(&task.log_mutex);
    absl::StatusOr<PieceLayout> layout = PieceLayout::Make(content_length, task.identity.piece_length);
    if (!layout.ok()) return layout.status();
    {
      const absl::MutexLock lock(&task.mutex);
      if (task.closed) return task.ended;
      if (task.layout == *layout) return absl::OkStatus();
      bool fits = !task.layout && task.table.count() == layout->piece_count() && task.table.bytes() == content_length;
      if (fits && content_length > 0) {
        // All numbers are there, all bytes, and the last piece has what it should: then every other one is whole.
        const PieceNumber last(layout->piece_count() - 1);
        fits = task.table.HasAll(PieceNumber(0), last) && task.table.Find(last)->range == layout->RangeOf(last);
      }
      if (!fits) {
        return absl::FailedPreconditionError(StrCat("task ", task.identity.id.str(), ": ", task.table.count(),
                                                    " pieces with ", task.table.bytes(), " bytes are not a content of ",
                                                    content_length, " bytes"));
      }
    }
    // A writer that gave up may have left bytes behind the end.
    DF_RETURN_IF_ERROR(task.SetFileLength(content_length));
    DF_RETURN_IF_ERROR(task.AppendLog(EncodeContentLength(content_length)));
    const absl::MutexLock lock(&task.mutex);
    task.layout = *layout;
    complete = task.CompleteLocked();
  }
  task.changes.Notify();
  if (complete) task.SyncInBackground();
  return absl::OkStatus();
}

std::optional<absl::Status> TaskContent::State::OutcomeOf(PieceNumber number, uint64_t failures_before) const {
  const absl::MutexLock lock(&mutex);
  if (table.Has(number)) return absl::OkStatus();
  if (closed || (failures != failures_before && !ended.ok())) return ended;
  if (!writers.contains(number.value())) return absl::NotFoundError(StrCat(Describe(number), " is not being written"));
  return std::nullopt;
}

asio::awaitable<absl::Status> TaskContent::State::WhenFinished(std::shared_ptr<State> task, PieceNumber number,
                                                               uint64_t failures_before, TimePoint deadline) {
  for (;;) {
    const uint64_t seen = task->changes.version();
    std::optional<absl::Status> outcome = task->OutcomeOf(number, failures_before);
    if (outcome) co_return *std::move(outcome);
    const bool changed = co_await task->changes.Wait(seen, deadline);
    if (!changed) co_return absl::DeadlineExceededError(StrCat(task->Describe(number), " was not finished in time"));
  }
}

asio::awaitable<absl::Status> TaskContent::WhenFinished(PieceNumber number, TimePoint deadline) {
  uint64_t failures = 0;
  {
    const absl::MutexLock lock(&state_->mutex);
    failures = state_->failures;
  }
  return State::WhenFinished(state_, number, failures, deadline);
}

absl::StatusOr<PieceBytes> TaskContent::OpenPiece(PieceNumber number) {
  State& task = *state_;
  PieceBytes bytes;
  uint64_t generation = 0;
  {
    const absl::MutexLock lock(&task.mutex);
    std::optional<PieceRecord> record = task.table.Find(number);
    if (!record) return absl::NotFoundError(StrCat(task.Describe(number), " is not finished"));
    bytes.record = *std::move(record);
    generation = task.file_generation;
  }
  DF_ASSIGN_OR_RETURN(bytes.file, task.ContentFile());
  DF_RETURN_IF_ERROR(task.NoticeForeignChanges(bytes.file->get()));
  DF_RETURN_IF_ERROR(task.CheckPiece(bytes.record, generation, bytes.file->get()));
  task.Touch();
  // The descriptor, and the content in use as long as it is held.
  struct Reading {
    Reading(std::shared_ptr<State> state, std::shared_ptr<const UniqueFd> fd)
        : use(std::move(state)), file(std::move(fd)) {}
    const State::Use use;
    const std::shared_ptr<const UniqueFd> file;
  };
  const auto reading = std::make_shared<const Reading>(state_, std::move(bytes.file));
  bytes.file = std::shared_ptr<const UniqueFd>(reading, reading->file.get());
  return bytes;
}

bool TaskContent::in_use() const {
  if (state_->uses > 0) return true;
  const absl::MutexLock lock(&state_->mutex);
  return !state_->writers.empty();
}

absl::StatusOr<TaskContent::Blocks> TaskContent::ReadBlocks() const {
  const StoreDirectory& directory = *state_->store->directory;
  DF_ASSIGN_OR_RETURN(const struct stat content, directory.StatContent(id()));
  DF_ASSIGN_OR_RETURN(const struct stat log, directory.StatLog(id()));
  Blocks blocks;
  blocks.content_bytes = static_cast<uint64_t>(content.st_blocks) * 512;
  blocks.metadata_bytes = static_cast<uint64_t>(log.st_blocks) * 512;
  blocks.linked = content.st_nlink > 1;
  return blocks;
}

absl::Status TaskContent::DropPageCache() const {
  // Not by the list of open files: what is idle would push out what is used.
  DF_ASSIGN_OR_RETURN(const UniqueFd file, state_->store->directory->OpenContent(id()));
  (void)::posix_fadvise(file.get(), 0, 0, POSIX_FADV_DONTNEED);
  return absl::OkStatus();
}

absl::Status TaskContent::ReadAhead(uint64_t limit) const {
  DF_ASSIGN_OR_RETURN(const UniqueFd file, state_->store->directory->OpenContent(id()));
  const uint64_t bytes = std::min(finished_bytes(), limit);
  if (bytes > 0) (void)::posix_fadvise(file.get(), 0, static_cast<off_t>(bytes), POSIX_FADV_WILLNEED);
  return absl::OkStatus();
}

absl::Status TaskContent::failure() const {
  const absl::MutexLock lock(&state_->mutex);
  return state_->ended;
}

void TaskContent::Fail(const absl::Status& why) {
  if (why.ok()) return;
  {
    const absl::MutexLock lock(&state_->mutex);
    if (state_->closed) return;
    state_->ended = why;
    ++state_->failures;
  }
  state_->changes.Notify();
  state_->ReleaseUnwritten();
}

}  // namespace dragonfly::storage
