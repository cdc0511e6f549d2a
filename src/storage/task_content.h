// SPDX-License-Identifier: Apache-2.0
// One task's content on disk: which pieces are there, their bytes, and who waits for them.
#pragma once

#include <boost/asio/awaitable.hpp>
#include <cstdint>
#include <map>
#include <memory>
#include <optional>
#include <string>
#include <vector>

#include "absl/status/statusor.h"
#include "absl/time/time.h"
#include "base/byte_sink.h"
#include "base/digest.h"
#include "base/ids.h"
#include "base/piece.h"
#include "runtime/clock.h"
#include "runtime/signal.h"
#include "storage/piece_record.h"

namespace dragonfly::storage {

class TaskContent;

// The one writer of one piece. Bytes are checksummed and written as they come; nothing is visible until Commit().
// Destroying it without Commit() gives the piece free for the next writer and wakes who waits for it.
// Thread rule: one thread at a time.
class PieceWriter final : public ByteSink {
 public:
  PieceWriter(PieceWriter&&) noexcept;
  PieceWriter& operator=(PieceWriter&&) noexcept;
  ~PieceWriter() override;

  PieceNumber number() const;
  // Where the piece lies. Of a content of unknown length: the longest that it may be.
  ByteRange range() const;
  uint64_t written() const;

  // OUT_OF_RANGE when more bytes come than the piece has; RESOURCE_EXHAUSTED when the disk is full.
  absl::Status Append(std::span<const std::byte> bytes) override;

  // Forgets what was appended, so that another attempt may start at the beginning of the piece.
  void Restart();

  // Makes the piece visible, records it, and wakes who waits. `expected` is the digest that the sender named: DATA_LOSS
  // when the bytes differ from it. OUT_OF_RANGE when bytes are missing. After an error the piece is free again.
  absl::StatusOr<PieceRecord> Commit(const std::optional<Digest>& expected, std::string_view parent_id,
                                     TrafficType traffic_type);

 private:
  friend class TaskContent;
  struct State;
  explicit PieceWriter(std::unique_ptr<State> state);
  std::unique_ptr<State> state_;
};

// How ExportTo() makes the output.
struct ExportOptions {
  ExportOptions() = default;
  bool force_hard_link = false;  // fail instead of copying
  bool overwrite = false;        // replace an existing output
};

// Whether TaskContent::ExportTo() could make `output_path`, as far as can be told before the bytes are there: the path
// is absolute, its directory is there, and what has the name already may be replaced or is the very file of `content`
// (null: no such file). Blocks. Errors: as of ExportTo().
absl::Status CheckOutput(const std::string& output_path, const ExportOptions& options, const TaskContent* content);

enum class ExportMethod { kAlreadyLinked, kHardLink, kReflink, kCopy };

// How AdoptFile() took the bytes of a user's file.
enum class AdoptMethod { kNone, kReflink, kHardLink };

// Thread rule: every method from any thread. Disk reads and writes happen on the caller's thread; ExportTo() may block
// for long and belongs on a BlockingPool.
class TaskContent {
 public:
  ~TaskContent();
  TaskContent(const TaskContent&) = delete;
  TaskContent& operator=(const TaskContent&) = delete;

  const TaskId& id() const;
  // The file that holds the content.
  const std::string& path() const;
  // nullopt while the length is unknown (a content that is streamed from an origin that does not tell).
  std::optional<PieceLayout> layout() const;
  // Headers that the origin sent with the content; names in lower case.
  std::map<std::string, std::string> response_header() const;
  absl::Time created_at() const;
  // Last time that somebody read or wrote it.
  absl::Time updated_at() const;
  // When the origin was last seen to have just this object; nullopt: not since the daemon has started. Kept in memory
  // only.
  std::optional<TimePoint> confirmed_at() const;
  void Confirm(TimePoint when);
  // The same for questions that brought no credentials, so that the answer holds for everybody.
  std::optional<TimePoint> openly_confirmed_at() const;
  void ConfirmOpenly(TimePoint when);

  // Counts and completeness come from the bitmap of finished pieces.
  bool HasPiece(PieceNumber number) const;
  uint32_t finished_piece_count() const;
  uint64_t finished_bytes() const;
  // True when the length is known and every piece is there.
  bool complete() const;
  // True when every piece that overlaps `range` is there.
  bool HasRange(const ByteRange& range) const;
  // Finished pieces in ascending order, at most `limit`, beginning at `first`.
  std::vector<PieceRecord> Finished(PieceNumber first = PieceNumber(0), size_t limit = SIZE_MAX) const;
  std::optional<PieceRecord> FindPiece(PieceNumber number) const;

  // At most one writer per piece. Errors: ALREADY_EXISTS when the piece is finished; FAILED_PRECONDITION when another
  // writer has it (wait with WhenFinished()); OUT_OF_RANGE when the content has no such piece; RESOURCE_EXHAUSTED when
  // its bytes were not reserved by FindOrCreate() and do not fit; CANCELLED after deletion. Where a user may have a
  // link to the file, the content begins anew with an empty one first; errors of open(2) then.
  absl::StatusOr<PieceWriter> BeginPiece(PieceNumber number);

  // For a content of unknown length: the last piece was committed, the whole is `content_length` bytes. Commit()
  // accepts a short piece while the length is unknown. Errors: FAILED_PRECONDITION when the pieces do not add up to it.
  absl::Status FinishLength(uint64_t content_length);

  // Makes the bytes of `source`, a regular file that is open for reading, those of a content that has neither piece nor
  // writer, without copying them: by a reflink where the file system knows it, else, with `hard_link`, by one more name
  // of that file, whose later changes are then noticed as those of a linked output. kNone when neither can be; nothing
  // has changed then. Pieces are finished by AddPieceInPlace(). Blocks. Errors: FAILED_PRECONDITION when the content is
  // of unknown length or not empty; ABORTED when `source` has another length.
  absl::StatusOr<AdoptMethod> AdoptFile(int source, bool hard_link);

  // Finishes a piece whose bytes lie in the file since AdoptFile(). They are read once for their checksum, unless that
  // is known. Several threads may add different pieces. Errors: as BeginPiece(), and of pread(2); ABORTED when the
  // content has begun anew since AdoptFile().
  absl::StatusOr<PieceRecord> AddPieceInPlace(PieceNumber number, std::optional<uint32_t> crc32);

  // Has the kernel begin to write `range` to the disk, so that a later Sync() waits for less.
  void StartWriteback(const ByteRange& range);

  // Completes OK when `number` is finished; at once when it is already. NOT_FOUND when nobody writes it (any more), so
  // that the caller can begin it; what Fail() was told when that happens meanwhile; CANCELLED after deletion;
  // DEADLINE_EXCEEDED.
  boost::asio::awaitable<absl::Status> WhenFinished(PieceNumber number, TimePoint deadline);

  // Notified at every finished piece, when the length becomes known, when a writer gives up, and at Fail() and
  // deletion.
  runtime::Signal& changes();

  // Pieces in the order in which they finished, from the `from`-th on: what a subscriber has not seen yet. Together
  // with changes() this is the feed of SyncPieces. `from` plus the size of the result is the next `from`. A piece may
  // come twice when another one was forgotten as damaged.
  std::vector<PieceRecord> FinishedSince(size_t from) const;

  // The bytes of a finished piece. Reads them first when a power cut, or a user who wrote into a hard-linked output,
  // may have damaged them (docs/storage.md). Errors: NOT_FOUND when it is not finished; DATA_LOSS when it turned out
  // damaged: it is then forgotten and can be begun again.
  absl::StatusOr<PieceBytes> OpenPiece(PieceNumber number);

  // Reads all pieces that OpenPiece() would have to read first. Blocks. DATA_LOSS when some turned out damaged: they
  // are forgotten. FAILED_PRECONDITION when the content is not complete.
  absl::Status Verify();

  // Returns when what is finished would survive a power cut: bytes, log, and the directories that name them. Blocks.
  // Errors: of fsync(2).
  absl::Status Sync();

  // True while somebody writes a piece, holds the bytes of one, or makes an output.
  bool in_use() const;

  // What its files take on the disk, and whether the content has another name outside, so that deleting it frees
  // nothing. Errors: of stat(2).
  struct Blocks {
    uint64_t content_bytes = 0;   // blocks of the content
    uint64_t metadata_bytes = 0;  // and of its log
    bool linked = false;
  };
  absl::StatusOr<Blocks> ReadBlocks() const;

  // Gives the memory back that the kernel keeps the content's bytes in; what is not on the disk yet stays. Errors: of
  // open(2).
  absl::Status DropPageCache() const;
  // Has the kernel read the first `limit` bytes into memory, in the background. Errors: of open(2).
  absl::Status ReadAhead(uint64_t limit) const;

  // Not OK after the content was deleted (CANCELLED) or its download given up; readers that wait should stop.
  absl::Status failure() const;
  // Tells waiters why the download ended without completing, and gives the space of unwritten pieces back. Finished
  // pieces stay; BeginPiece() clears it.
  void Fail(const absl::Status& why);

  // Makes `output_path` (absolute) a file with the content, by hard link, else reflink, else copy_file_range that keeps
  // holes. Only for a complete content. Blocks. Errors: FAILED_PRECONDITION when not complete; ALREADY_EXISTS
  // "output path <path> is already exists" when another file is there and overwrite is not set; DATA_LOSS when a piece
  // turned out damaged (as OpenPiece()); with force_hard_link the error of link(2). Nothing half-written is left
  // behind: a copy gets its name when it is whole.
  absl::StatusOr<ExportMethod> ExportTo(const std::string& output_path, const ExportOptions& options);
  // Writes bytes `range` of the content to a new file at `output_path`, likewise. Every piece of it must be there; the
  // rest need not. Errors also: INVALID_ARGUMENT with force_hard_link.
  absl::Status ExportRangeTo(const std::string& output_path, const ByteRange& range, const ExportOptions& options);

 private:
  friend class ContentStore;
  friend class PieceWriter;
  friend absl::Status CheckOutput(const std::string& output_path, const ExportOptions& options,
                                  const TaskContent* content);
  struct State;
  explicit TaskContent(std::shared_ptr<State> state);
  absl::StatusOr<PieceWriter> TryBeginPiece(PieceNumber number);
  std::shared_ptr<State> state_;
};

}  // namespace dragonfly::storage
