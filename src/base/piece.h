// SPDX-License-Identifier: Apache-2.0
// Pieces: how a file is cut. Source of the rules: client v1.0.0, dragonfly-client/src/resource/piece.rs.
#pragma once

#include <compare>
#include <cstdint>
#include <functional>

#include "absl/status/statusor.h"
#include "base/byte_range.h"

namespace dragonfly {

inline constexpr uint64_t kPieceLengthMin = 4ull << 20;   // bytes
inline constexpr uint64_t kPieceLengthMax = 64ull << 20;  // bytes
// No file has more pieces than this (1 PiB in pieces of 64 MiB); larger numbers from the network are refused.
inline constexpr uint32_t kPieceCountMax = 1u << 24;

// Index of a piece in its task, from 0.
class PieceNumber {
 public:
  constexpr PieceNumber() = default;
  constexpr explicit PieceNumber(uint32_t value) : value_(value) {}
  constexpr uint32_t value() const { return value_; }
  constexpr PieceNumber next() const { return PieceNumber(value_ + 1); }
  constexpr auto operator<=>(const PieceNumber&) const = default;
  template <typename H>
  friend H AbslHashValue(H h, PieceNumber n) {
    return H::combine(std::move(h), n.value_);
  }

 private:
  uint32_t value_ = 0;
};

// The piece length for a file of `content_length` bytes when the request names none: content_length / 500 rounded up to
// a power of two, between kPieceLengthMin and kPieceLengthMax.
uint64_t PieceLengthFor(uint64_t content_length);

// How a file of known length is cut into pieces. Made by Make(), so a layout always has a sane piece count.
class PieceLayout {
 public:
  // A layout of an empty file.
  PieceLayout() = default;

  // Errors: INVALID_ARGUMENT when piece_length is 0 or the file would have more than kPieceCountMax pieces.
  static absl::StatusOr<PieceLayout> Make(uint64_t content_length, uint64_t piece_length);

  uint64_t content_length() const { return content_length_; }
  uint64_t piece_length() const { return piece_length_; }
  // 0 for an empty file.
  uint32_t piece_count() const { return piece_count_; }
  bool Contains(PieceNumber number) const { return number.value() < piece_count_; }

  // Where `number` lies in the file; the last piece may be shorter. `number` must be contained.
  ByteRange RangeOf(PieceNumber number) const;

  // The whole pieces that overlap `range`, as [first, last]. `range` must lie in the file and not be empty.
  struct Interval {
    PieceNumber first;
    PieceNumber last;
  };
  Interval PiecesOf(const ByteRange& range) const;

  bool operator==(const PieceLayout&) const = default;

 private:
  uint64_t content_length_ = 0;
  uint64_t piece_length_ = kPieceLengthMin;
  uint32_t piece_count_ = 0;
};

}  // namespace dragonfly
