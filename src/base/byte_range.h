// SPDX-License-Identifier: Apache-2.0
// A run of bytes of a file.
#pragma once

#include <cstdint>
#include <string>
#include <string_view>

#include "absl/status/statusor.h"

namespace dragonfly {

// Bytes [offset, offset + length). The sum never overflows in a range made by the functions below.
struct ByteRange {
  uint64_t offset = 0;
  uint64_t length = 0;

  // First byte behind the range.
  uint64_t end() const { return offset + length; }
  bool operator==(const ByteRange&) const = default;
};

// Checks a range that a stranger named against a file of `content_length` bytes and cuts its end to the file.
// Errors: INVALID_ARGUMENT when length is 0, or the offset lies at or behind the end.
absl::StatusOr<ByteRange> ClampRange(uint64_t offset, uint64_t length, uint64_t content_length);

// Reads the value of an HTTP Range header (RFC 9110 §14.2: "bytes=0-99", "bytes=5-", "bytes=-10") against a file of
// `content_length` bytes; of several ranges the first is taken. Errors: FAILED_PRECONDITION when it does not parse or
// cannot be satisfied.
absl::StatusOr<ByteRange> ParseHttpRange(std::string_view header, uint64_t content_length);

// "bytes=<first>-<last>" for a range of at least one byte.
std::string ToHttpRange(const ByteRange& range);

}  // namespace dragonfly
