// SPDX-License-Identifier: Apache-2.0
// The metadata file of one task: a log that is only ever appended to. Internal to storage. Bytes: docs/storage.md.
//
// A record is written by one write(2) and carries its own CRC; what a crash left torn at the end is cut off when the
// log is read. There is no second file and no rename: whatever becomes known later (the length, that a piece is
// finished, that bytes have reached the disk) is one more record.
#pragma once

#include <array>
#include <cstdint>
#include <map>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "absl/status/statusor.h"
#include "absl/time/time.h"
#include "base/ids.h"
#include "base/piece.h"
#include "storage/piece_record.h"

namespace dragonfly::storage {

// Names one run of the kernel; what was written but not synced may be lost when it changes.
using BootId = std::array<uint8_t, 16>;
// Of the running kernel; nullopt when it cannot be read, which then counts as a new one at every start.
std::optional<BootId> CurrentBootId();

// Longest response header of a task, names and values together, in bytes.
inline constexpr size_t kResponseHeaderBytesMax = 256 << 10;
inline constexpr size_t kResponseHeaderCountMax = 4096;
// Longest parent id in a record, in bytes.
inline constexpr size_t kParentIdBytesMax = kNameIdLengthMax;
// A longer log is not read: kPieceCountMax records of usual size.
inline constexpr uint64_t kTaskLogBytesMax = uint64_t{4} << 30;

// What is known when a content is made.
struct TaskLogHeader {
  std::optional<uint64_t> content_length;
  uint64_t piece_length = 0;
  absl::Time created_at;
  BootId boot_id{};
  std::map<std::string, std::string> response_header;
};

// Encoders of one record each, the first with the file's magic before it.
std::string EncodeTaskLogHeader(const TaskId& id, const TaskLogHeader& header);
// The piece is finished: its bytes were written before.
std::string EncodePieceFinished(const PieceRecord& record);
// The piece turned out damaged.
std::string EncodePieceDropped(PieceNumber number);
// All pieces so far are forgotten: the content file was replaced by an empty one.
std::string EncodeContentReset();
std::string EncodeContentLength(uint64_t content_length);
// The records from here on were written in this run of the kernel.
std::string EncodeBoot(const BootId& boot_id);
// The content file may be changed by others from here on: it is linked to an output.
std::string EncodeExposed();
// All that the first `log_bytes` bytes of the log tell is on the disk, and the content file was last modified then.
std::string EncodeSynced(uint64_t log_bytes, int64_t content_modified_ns);

// What a log tells.
struct TaskLog {
  TaskLogHeader header;
  PieceLayout layout;  // good when header.content_length is set
  struct Piece {
    PieceRecord record;
    bool current_boot = false;  // written in the run of the kernel that was asked about
    bool synced = false;        // on the disk, if the content was not modified after `synced_ns`
  };
  std::vector<Piece> pieces;  // in the order of finishing, each number once; all fit the shape
  bool exposed = false;
  std::optional<int64_t> synced_ns;  // the content's time of modification when it was last synced
  uint64_t synced_end = 0;           // end of the last record that tells of a sync; 0: never synced
  bool current_boot = false;         // the last records are from the run of the kernel that was asked about
  uint64_t valid_bytes = 0;          // behind it lies a torn or damaged record
};

// Reads a log. `boot_id` is the running kernel's: records of the same run count as durable.
// Errors: DATA_LOSS when the header is damaged or belongs to another task or version.
absl::StatusOr<TaskLog> ParseTaskLog(std::string_view bytes, const TaskId& id, const std::optional<BootId>& boot_id);

}  // namespace dragonfly::storage
