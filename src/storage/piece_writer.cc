// SPDX-License-Identifier: Apache-2.0
// The path of a piece's bytes: checksum, then the file. No lock is held and nothing is allocated for them.
#include <fcntl.h>

#include <algorithm>
#include <cstring>
#include <utility>

#include "base/status.h"
#include "base/text.h"
#include "runtime/buffer_pool.h"
#include "storage/content_state.h"
#include "storage/shortage.h"

namespace dragonfly::storage {
namespace {

// Smaller appends are gathered to blocks, unless those are scarce: one more copy costs less than that many calls.
constexpr size_t kDirectWriteMin = 64 << 10;
// What a record of the log may need: a block or two.
constexpr uint64_t kRecordRoom = 64 << 10;

}  // namespace

struct PieceWriter::State {
  std::shared_ptr<TaskContent::State> content;
  PieceNumber number;
  ByteRange range;
  uint64_t generation = 0;
  Reservation reservation;
  std::shared_ptr<const UniqueFd> file;
  TimePoint begun = Clock::now();

  uint64_t written = 0;  // appended, of which the last `gathered` bytes are still in `block`
  uint32_t crc = 0;      // of what was appended
  size_t gathered = 0;
  runtime::Block block;   // taken at the first small append
  bool released = false;  // the piece is free or finished

  absl::Status Write(std::span<const std::byte> bytes, uint64_t offset) const;
  absl::Status Flush();
  absl::Status Gather(std::span<const std::byte> bytes);
  absl::Status GiveBlockBack();
  absl::Status CheckDigest(const Digest& expected) const;
  // Commit() without the releasing on errors.
  absl::StatusOr<PieceRecord> Finish(const std::optional<Digest>& expected, std::string_view parent_id,
                                     TrafficType traffic_type);
  void Abandon();
};

absl::Status PieceWriter::State::Write(std::span<const std::byte> bytes, uint64_t offset) const {
  const uint64_t at = range.offset + offset;
  absl::Status written_status = WriteAt(file->get(), bytes, at);
  if (absl::IsResourceExhausted(written_status)) {
    // Somebody else has filled the disk, or its file system cannot set blocks aside.
    const uint64_t rest = range.length - offset;
    const bool freed = content->store->MakeRoom(content->identity.id, rest);
    if (freed) written_status = WriteAt(file->get(), bytes, at);
    if (absl::IsResourceExhausted(written_status)) written_status = content->store->space.FullStatus(rest);
  }
  return Annotate(written_status, content->Describe(number));
}

absl::Status PieceWriter::State::Flush() {
  const size_t size = std::exchange(gathered, 0);
  return size == 0 ? absl::OkStatus() : Write(block.span().first(size), written - size);
}

absl::Status PieceWriter::State::Gather(std::span<const std::byte> bytes) {
  while (!bytes.empty()) {
    if (gathered == 0 && bytes.size() >= kDirectWriteMin) {
      const absl::Status status = Write(bytes, written);
      written += bytes.size();
      return status;
    }
    if (block.data() == nullptr) block = runtime::Block::TryTake();
    if (block.data() == nullptr) {
      const absl::Status status = Write(bytes, written);
      written += bytes.size();
      return status;
    }
    const auto part = bytes.first(std::min(bytes.size(), runtime::kBlockSize - gathered));
    std::memcpy(block.data() + gathered, part.data(), part.size());
    gathered += part.size();
    written += part.size();
    bytes = bytes.subspan(part.size());
    if (gathered == runtime::kBlockSize) DF_RETURN_IF_ERROR(Flush());
  }
  return absl::OkStatus();
}

// Who appends will wait for more bytes now: the block stays for them only as long as there are enough.
absl::Status PieceWriter::State::GiveBlockBack() {
  if (block.data() == nullptr || (gathered > 0 && !runtime::BlocksAreScarce())) return absl::OkStatus();
  const absl::Status flushed = Flush();
  block = {};
  return flushed;
}

absl::Status PieceWriter::State::CheckDigest(const Digest& expected) const {
  Digest actual = Digest::OfCrc32(crc);
  if (expected.algorithm() != DigestAlgorithm::kCrc32) {
    // Senders of our kind name a CRC-32; any other digest is worth reading the piece once more.
    Hasher hasher(expected.algorithm());
    DF_RETURN_IF_ERROR(VisitRange(file->get(), {range.offset, written}, [&hasher](std::span<const std::byte> bytes) {
      hasher.Update(bytes);
      return absl::OkStatus();
    }));
    actual = hasher.Finish();
  }
  if (actual == expected) return absl::OkStatus();
  return absl::DataLossError(StrCat(content->Describe(number), ": digest mismatch expected: ", expected.ToString(),
                                    ", actual: ", actual.ToString()));
}

absl::StatusOr<PieceRecord> PieceWriter::State::Finish(const std::optional<Digest>& expected,
                                                       std::string_view parent_id, TrafficType traffic_type) {
  if (released) return absl::FailedPreconditionError(StrCat(content->Describe(number), " was committed before"));
  if (parent_id.size() > kParentIdBytesMax) {
    return absl::InvalidArgumentError(StrCat("parent id of ", parent_id.size(), " bytes"));
  }
  DF_RETURN_IF_ERROR(Flush());
  if (expected) DF_RETURN_IF_ERROR(CheckDigest(*expected));

  PieceRecord record;
  record.number = number;
  record.range = {range.offset, written};
  record.crc32 = crc;
  record.parent_id = std::string(parent_id);
  record.traffic_type = traffic_type;
  record.cost = absl::Microseconds(std::chrono::duration_cast<std::chrono::microseconds>(Clock::now() - begun).count());
  record.created_at = absl::FromUnixMicros(absl::ToUnixMicros(absl::Now()));  // as precise as it is stored

  // Bytes, then the log, then the table: what others can see is what a restart would find.
  bool complete = false;
  {
    TaskContent::State& task = *content;
    const absl::MutexLock log_lock(&task.log_mutex);
    {
      const absl::MutexLock lock(&task.mutex);
      if (task.closed) return task.ended;
      if (generation != task.file_generation) {
        return absl::AbortedError(StrCat(task.Describe(number), ": the content file was replaced"));
      }
      // The length may have become known since the piece was begun.
      DF_ASSIGN_OR_RETURN(const ByteRange whole, task.RangeOf(number));
      if (written == 0 || written > whole.length || (task.layout && written != whole.length)) {
        return absl::OutOfRangeError(StrCat(task.Describe(number), " has ", written, " of ", whole.length, " bytes"));
      }
    }
    DF_RETURN_IF_ERROR(task.AppendLog(EncodePieceFinished(record)));
    const absl::MutexLock lock(&task.mutex);
    if (task.closed) return task.ended;
    task.table.Insert(record, /*trusted=*/true);
    task.writers.erase(number.value());
    std::move(reservation).Spend(written);
    released = true;
    complete = task.CompleteLocked();
  }
  content->Touch();
  content->changes.Notify();
  if (complete) content->SyncInBackground();
  return record;
}

void PieceWriter::State::Abandon() {
  if (std::exchange(released, true)) return;
  TaskContent::State& task = *content;
  bool give_blocks_back = false;
  {
    const absl::MutexLock lock(&task.mutex);
    give_blocks_back = !task.ended.ok() && !task.closed && task.allocated && generation == task.file_generation;
  }
  if (give_blocks_back) {  // while the piece is still ours
    (void)::fallocate(file->get(), FALLOC_FL_PUNCH_HOLE | FALLOC_FL_KEEP_SIZE, static_cast<off_t>(range.offset),
                      static_cast<off_t>(range.length));
  }
  Reservation dropped;
  {
    const absl::MutexLock lock(&task.mutex);
    task.writers.erase(number.value());
    // The next writer finds the bytes reserved, as long as the download goes on.
    if (task.layout && task.layout->Contains(number) && task.ended.ok()) {
      task.promised.Set(number);
      task.reserved.Add(std::move(reservation));
    } else {
      dropped = std::move(reservation);
    }
  }
  task.changes.Notify();
}

PieceWriter::PieceWriter(std::unique_ptr<State> state) : state_(std::move(state)) {}
PieceWriter::PieceWriter(PieceWriter&&) noexcept = default;

PieceWriter& PieceWriter::operator=(PieceWriter&& other) noexcept {
  if (this != &other) {
    if (state_ != nullptr) state_->Abandon();
    state_ = std::move(other.state_);
  }
  return *this;
}

PieceWriter::~PieceWriter() {
  if (state_ != nullptr) state_->Abandon();
}

PieceNumber PieceWriter::number() const { return state_->number; }
ByteRange PieceWriter::range() const { return state_->range; }
uint64_t PieceWriter::written() const { return state_->written; }

absl::Status PieceWriter::Append(std::span<const std::byte> bytes) {
  State& state = *state_;
  if (state.content->closed) return state.content->ClosedStatus();
  if (state.released)
    return absl::FailedPreconditionError(StrCat(state.content->Describe(state.number), " is committed"));
  if (bytes.size() > state.range.length - state.written) {
    return absl::OutOfRangeError(
        StrCat(state.content->Describe(state.number), ": more than its ", state.range.length, " bytes were sent"));
  }
  state.crc = Crc32(bytes, state.crc);
  DF_RETURN_IF_ERROR(state.Gather(bytes));
  return state.GiveBlockBack();
}

void PieceWriter::Restart() {
  state_->written = 0;
  state_->gathered = 0;
  state_->crc = 0;
}

absl::StatusOr<PieceRecord> PieceWriter::Commit(const std::optional<Digest>& expected, std::string_view parent_id,
                                                TrafficType traffic_type) {
  absl::StatusOr<PieceRecord> record = state_->Finish(expected, parent_id, traffic_type);
  if (LacksSpace(record.status())) {
    // The bytes are there; the log found no room for its record.
    const TaskContent::State& task = *state_->content;
    if (task.store->MakeRoom(task.identity.id, kRecordRoom)) record = state_->Finish(expected, parent_id, traffic_type);
  }
  if (!record.ok()) state_->Abandon();
  state_->block = {};
  return record;
}

absl::StatusOr<PieceWriter> TaskContent::BeginPiece(PieceNumber number) {
  DF_RETURN_IF_ERROR(state_->LeaveExposedFile(number));
  absl::StatusOr<PieceWriter> piece = TryBeginPiece(number);
  if (LacksSpace(piece.status()) && state_->store->MakeRoom(state_->identity.id, state_->identity.piece_length)) {
    piece = TryBeginPiece(number);
  }
  return piece;
}

absl::StatusOr<PieceWriter> TaskContent::TryBeginPiece(PieceNumber number) {
  State& task = *state_;
  auto writer = std::make_unique<PieceWriter::State>();
  writer->content = state_;
  writer->number = number;
  {
    // Shared with other writers, not with who hands blocks back.
    const absl::ReaderMutexLock blocks(&task.blocks_mutex);
    const absl::MutexLock lock(&task.mutex);
    if (task.closed) return task.ended;
    DF_ASSIGN_OR_RETURN(writer->range, task.RangeOf(number));
    if (task.table.Has(number)) return absl::AlreadyExistsError(StrCat(task.Describe(number), " is finished"));
    if (task.writers.contains(number.value())) {
      return absl::FailedPreconditionError(StrCat(task.Describe(number), " is being written"));
    }
    if (task.exposed) {
      return absl::AbortedError(StrCat(task.Describe(number), ": the content file is linked to a file of a user"));
    }
    if (task.promised.Test(number)) {
      task.promised.Clear(number);
      writer->reservation = task.reserved.Take(writer->range.length);
    } else {
      DF_ASSIGN_OR_RETURN(writer->reservation, task.store->space.Reserve(writer->range.length));
    }
    writer->generation = task.file_generation;
    task.writers.insert(number.value());
    task.ended = absl::OkStatus();
  }
  // From here on the writer gives the piece free.
  PieceWriter piece(std::move(writer));
  DF_ASSIGN_OR_RETURN(piece.state_->file, task.ContentFile());
  task.Touch();
  return piece;
}

}  // namespace dragonfly::storage
