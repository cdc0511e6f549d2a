// SPDX-License-Identifier: Apache-2.0
// A set of piece numbers of one task, one bit each.
#pragma once

#include <cstdint>
#include <optional>
#include <vector>

#include "base/piece.h"

namespace dragonfly::daemon {

class PieceSet {
 public:
  PieceSet() = default;
  // Holds numbers below `piece_count`; others are never members.
  explicit PieceSet(uint32_t piece_count) : piece_count_(piece_count), words_((piece_count + 63) / 64) {}

  bool Contains(PieceNumber number) const {
    return number.value() < piece_count_ && (words_[number.value() / 64] >> (number.value() % 64) & 1) != 0;
  }
  // True when the set changed.
  bool Insert(PieceNumber number);
  bool Erase(PieceNumber number);
  void Clear();

  uint32_t size() const { return size_; }
  bool empty() const { return size_ == 0; }
  uint32_t piece_count() const { return piece_count_; }

  // The lowest member at or behind `from`.
  std::optional<PieceNumber> NextFrom(PieceNumber from) const;
  // The lowest member of both sets at or behind `from`.
  static std::optional<PieceNumber> NextCommon(const PieceSet& a, const PieceSet& b, PieceNumber from);

 private:
  uint32_t piece_count_ = 0;
  uint32_t size_ = 0;
  std::vector<uint64_t> words_;
};

}  // namespace dragonfly::daemon
