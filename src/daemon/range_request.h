// SPDX-License-Identifier: Apache-2.0
// The part of a file that a download asks for: by the field Download.range, which wins, or by a Range header.
#pragma once

#include <cstdint>
#include <optional>
#include <string>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "base/byte_range.h"

namespace common::v2 {
class Download;
}

namespace dragonfly::daemon {

class RangeRequest {
 public:
  explicit RangeRequest(const common::v2::Download& wire);

  // A part is asked for; false: the whole file.
  bool any() const { return field_.has_value() || !header_.empty(); }
  // Errors: INVALID_ARGUMENT for a field of length 0.
  absl::Status Check() const;
  // Turns it into bytes of a file, cut to its end; nullopt for the whole file. Suffixes ("bytes=-10") and open ends
  // ("bytes=10-") resolve; of several ranges in a header the first is taken. Errors: FAILED_PRECONDITION when no byte
  // of the file is in it, or the header does not parse.
  absl::StatusOr<std::optional<ByteRange>> Resolve(uint64_t content_length) const;

 private:
  std::optional<ByteRange> field_;
  std::string header_;
};

}  // namespace dragonfly::daemon
