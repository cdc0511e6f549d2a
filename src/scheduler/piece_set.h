// SPDX-License-Identifier: Apache-2.0
// Which pieces a peer has: one bit a piece, no more bits than the highest number reported.
#pragma once

#include <cstdint>
#include <vector>

#include "base/piece.h"

namespace dragonfly::scheduler {

class PieceSet {
 public:
  // False when it was there already. `number` must be below kPieceCountMax (the caller has checked the peer's claim).
  bool Insert(PieceNumber number);
  bool Contains(PieceNumber number) const;
  uint32_t count() const { return count_; }
  // Bytes on the heap.
  size_t memory() const { return words_.capacity() * sizeof(uint64_t); }
  // Forgets the bits and keeps the count: for a peer that is finished and is no longer asked for single pieces.
  void Freeze();

 private:
  std::vector<uint64_t> words_;
  uint32_t count_ = 0;
};

}  // namespace dragonfly::scheduler
