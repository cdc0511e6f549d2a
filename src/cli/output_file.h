// SPDX-License-Identifier: Apache-2.0
// The output of a download that dfget writes by itself: under a temporary name until it is whole.
#pragma once

#include <cstdint>
#include <optional>
#include <string>
#include <string_view>

#include "absl/status/statusor.h"
#include "base/byte_range.h"
#include "base/digest.h"
#include "base/unique_fd.h"

namespace dragonfly::cli {

class OutputFile {
 public:
  // Makes "<path>.<pid>.dfget" beside `path`. Errors: of open(2).
  static absl::StatusOr<OutputFile> Create(std::string path);
  // Removes the temporary file unless Publish() has succeeded.
  ~OutputFile();
  OutputFile(OutputFile&& other) noexcept;
  OutputFile& operator=(OutputFile&&) = delete;

  // The part of the task's file that the output holds, known when the download has started. Reserves its bytes.
  absl::Status SetWindow(ByteRange window);

  // Writes what of a piece (content at `offset` of the task's file) lies in the window.
  absl::Status Write(uint64_t offset, std::string_view content);

  // Gives the file its name. Errors: DATA_LOSS when bytes are missing or `digest` does not match; ALREADY_EXISTS when
  // another file took the name and `overwrite` is not set.
  absl::Status Publish(const std::optional<Digest>& digest, bool overwrite);

 private:
  OutputFile(std::string path, std::string temporary, UniqueFd file);

  std::string path_;
  std::string temporary_;  // empty when there is nothing to remove
  UniqueFd file_;
  ByteRange window_;
  uint64_t written_ = 0;
};

}  // namespace dragonfly::cli
