// SPDX-License-Identifier: Apache-2.0
// File reads and writes that go on after signals and short transfers. Internal to storage.
#pragma once

#include <algorithm>
#include <cstddef>
#include <cstdint>
#include <span>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "base/byte_range.h"
#include "runtime/buffer_pool.h"

namespace dragonfly::storage {

// Writes all of `bytes` at `offset`. Errors: of pwrite(2); RESOURCE_EXHAUSTED when the disk is full.
absl::Status WriteAt(int fd, std::span<const std::byte> bytes, uint64_t offset);

// Fills `bytes` from `offset` on. Returns how many were read: fewer only where the file ends. Errors: of pread(2).
absl::StatusOr<size_t> ReadAt(int fd, std::span<std::byte> bytes, uint64_t offset);

// Reads `range` once and hands it in steps of at most one block to `visit(std::span<const std::byte>)`.
// Errors: DATA_LOSS when the file ends inside the range; of pread(2).
template <typename Visit>
absl::Status VisitRange(int fd, const ByteRange& range, Visit visit);

// CRC-32 of `range`. Errors: as VisitRange().
absl::StatusOr<uint32_t> Crc32OfRange(int fd, const ByteRange& range);

// What stat(2) says about a file's last change, to notice changes that others made.
struct FileStamp {
  int64_t modified_ns = 0;  // st_mtim
  int64_t changed_ns = 0;   // st_ctim
  uint64_t size = 0;
  bool operator==(const FileStamp&) const = default;
};
absl::StatusOr<FileStamp> StampOf(int fd);

template <typename Visit>
absl::Status VisitRange(int fd, const ByteRange& range, Visit visit) {
  const runtime::Block block = runtime::Block::Take();
  for (uint64_t at = range.offset; at < range.end();) {
    const auto step =
        block.span().first(static_cast<size_t>(std::min<uint64_t>(range.end() - at, runtime::kBlockSize)));
    const absl::StatusOr<size_t> got = ReadAt(fd, step, at);
    if (!got.ok()) return got.status();
    if (*got < step.size()) return absl::DataLossError("the file is shorter than recorded");
    const absl::Status visited = visit(std::span<const std::byte>(step));
    if (!visited.ok()) return visited;
    at += step.size();
  }
  return absl::OkStatus();
}

}  // namespace dragonfly::storage
