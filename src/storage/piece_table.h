// SPDX-License-Identifier: Apache-2.0
// The finished pieces of one task, in memory. Internal to storage.
//
// What it tracks:
//   1. which pieces are finished: a bitmap, and the count and bytes of its members;
//   2. one 40-byte entry per piece that ever finished, in the order in which they finished;
//   3. where the entry of a piece number is: four bytes per number;
//   4. which finished pieces may be handed out without reading them again ("trusted"): a piece that a power cut or a
//      user may have damaged is recorded, but waits for its checksum to be compared.
#pragma once

#include <cstdint>
#include <optional>
#include <string>
#include <vector>

#include "storage/piece_bitmap.h"
#include "storage/piece_record.h"

namespace dragonfly::storage {

// Not thread-safe.
class PieceTable {
 public:
  // Piece n begins at n * piece_length.
  explicit PieceTable(uint64_t piece_length) : piece_length_(piece_length) {}

  // `record.number` must not be finished; its range must begin where the piece begins.
  void Insert(const PieceRecord& record, bool trusted);
  // Forgets a finished piece; false when it is not finished.
  bool Drop(PieceNumber number);
  void DropAll();

  bool Has(PieceNumber number) const { return finished_.Test(number); }
  bool HasAll(PieceNumber first, PieceNumber last) const { return finished_.TestAll(first, last); }
  std::optional<PieceNumber> NextFrom(PieceNumber from) const { return finished_.NextFrom(from); }
  uint32_t count() const { return count_; }
  uint64_t bytes() const { return bytes_; }
  std::optional<PieceRecord> Find(PieceNumber number) const;
  std::vector<PieceRecord> Ascending(PieceNumber first, size_t limit) const;

  // Entries from the `from`-th on, in order of finishing. The place of a piece that was dropped is kept, so that `from`
  // plus the size of the result is always the next `from`: a dropped piece is replaced by any finished one, which thus
  // may come twice. Empty when no piece is finished.
  std::vector<PieceRecord> Since(size_t from) const;

  bool trusted(PieceNumber number) const;
  void Trust(PieceNumber number);
  void DistrustAll();
  uint32_t untrusted_count() const { return untrusted_; }

 private:
  struct Entry {
    uint32_t number;
    uint32_t crc32;
    uint64_t length;
    int64_t created_us;  // since the epoch
    int64_t cost_us;
    uint32_t parent;  // index into parents_
    uint8_t traffic_type;
    bool finished;
    bool trusted;
  };

  const Entry* EntryOf(PieceNumber number) const;
  PieceRecord RecordOf(const Entry& entry) const;
  uint32_t InternParent(const std::string& parent_id);

  uint64_t piece_length_;
  PieceBitmap finished_;
  uint32_t count_ = 0;
  uint64_t bytes_ = 0;
  uint32_t untrusted_ = 0;
  std::vector<Entry> entries_;         // in order of finishing
  std::vector<uint32_t> entry_index_;  // by piece number; good only where finished_ has the number
  std::vector<std::string> parents_;   // every parent once; few per task
};

}  // namespace dragonfly::storage
