// SPDX-License-Identifier: Apache-2.0
// The chunked transfer coding (RFC 9112 §7.1), taken off a body. Written by hand since Boost.Beast's decoder asserts on
// what a stranger may send, and waits for more bytes where it could refuse.
#pragma once

#include <cstddef>
#include <cstdint>
#include <span>
#include <string_view>

#include "absl/status/statusor.h"

namespace dragonfly::daemon::proxy {

// Strict: sizes are hexadecimal digits alone, lines end with CR LF. Chunk extensions and trailers are read and dropped.
class ChunkedDecoder {
 public:
  // The longest that a size with its extensions, and all trailers together, may be.
  static constexpr size_t kLineMax = 16 << 10;

  struct Step {
    size_t consumed = 0;  // bytes of `in` that are done with
    size_t produced = 0;  // bytes put into `out`
  };
  // Decodes what `in` begins with, until it is used up, `out` is full, or the body ends. Errors: HttpError 400 for what
  // is no chunked body; the decoder must not be used any more.
  absl::StatusOr<Step> Decode(std::string_view in, std::span<std::byte> out);
  bool done() const { return state_ == State::kDone; }

 private:
  enum class State { kSize, kExtension, kSizeEnd, kData, kDataCr, kDataLf, kTrailer, kTrailerEnd, kDone };
  // One byte of what is not data.
  absl::Status TakeByte(char c);

  State state_ = State::kSize;
  uint64_t left_ = 0;       // of the chunk's data; its size while that is read
  size_t digits_ = 0;       // of the size
  size_t line_length_ = 0;  // of the line, or of all trailers
  size_t trailer_ = 0;      // bytes of this trailer line
};

}  // namespace dragonfly::daemon::proxy
