// SPDX-License-Identifier: Apache-2.0
// Pieces that come in any order as one stream on standard output.
#pragma once

#include <cstdint>
#include <map>
#include <optional>
#include <string_view>

#include "absl/status/statusor.h"
#include "base/byte_range.h"
#include "base/digest.h"
#include "base/unique_fd.h"

namespace dragonfly::cli {

class OutputStream {
 public:
  // Writes to `fd`, which stays open. What comes before its turn waits in an unnamed file in $TMPDIR or /tmp; bytes
  // that have their turn never touch it.
  explicit OutputStream(int fd, std::optional<DigestAlgorithm> digest);

  // The part of the task's file that is wanted.
  absl::Status SetWindow(ByteRange window);
  // A piece; what of it lies in the window is written once.
  absl::Status Write(uint64_t offset, std::string_view content);
  // Errors: DATA_LOSS when bytes are missing or `digest` does not match; the bytes are out by then.
  absl::Status Finish(const std::optional<Digest>& digest);

 private:
  absl::Status Emit(std::string_view content);
  absl::Status Keep(uint64_t offset, std::string_view content);
  absl::Status EmitKept();

  const int fd_;
  std::optional<Hasher> hasher_;
  ByteRange window_;
  uint64_t next_ = 0;  // offset of the first byte that is not out
  UniqueFd kept_file_;
  std::map<uint64_t, uint64_t> kept_;  // offset -> length
};

}  // namespace dragonfly::cli
