// SPDX-License-Identifier: Apache-2.0
#include "base/piece.h"

#include <algorithm>
#include <bit>
#include <cassert>

#include "base/text.h"

namespace dragonfly {
namespace {

constexpr uint64_t kTargetPieceCount = 500;

}  // namespace

uint64_t PieceLengthFor(uint64_t content_length) {
  const uint64_t even = content_length / kTargetPieceCount;
  // Clamped first: bit_ceil of more than 2^63 would overflow.
  if (even >= kPieceLengthMax) return kPieceLengthMax;
  return std::max(std::bit_ceil(even), kPieceLengthMin);
}

absl::StatusOr<PieceLayout> PieceLayout::Make(uint64_t content_length, uint64_t piece_length) {
  if (piece_length == 0) return absl::InvalidArgumentError("piece length 0");
  const uint64_t count = content_length / piece_length + (content_length % piece_length == 0 ? 0 : 1);
  if (count > kPieceCountMax) {
    return absl::InvalidArgumentError(StrCat(content_length, " bytes in pieces of ", piece_length, " are ", count,
                                             " pieces, more than ", kPieceCountMax));
  }
  PieceLayout layout;
  layout.content_length_ = content_length;
  layout.piece_length_ = piece_length;
  layout.piece_count_ = static_cast<uint32_t>(count);
  return layout;
}

ByteRange PieceLayout::RangeOf(PieceNumber number) const {
  assert(Contains(number));
  const uint64_t offset = number.value() * piece_length_;
  return ByteRange{offset, std::min(piece_length_, content_length_ - offset)};
}

PieceLayout::Interval PieceLayout::PiecesOf(const ByteRange& range) const {
  assert(range.length > 0 && range.offset < content_length_ && range.length <= content_length_ - range.offset);
  return Interval{PieceNumber(static_cast<uint32_t>(range.offset / piece_length_)),
                  PieceNumber(static_cast<uint32_t>((range.end() - 1) / piece_length_))};
}

}  // namespace dragonfly
