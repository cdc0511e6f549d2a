// SPDX-License-Identifier: Apache-2.0
// A set of piece numbers, one bit each. Internal to storage.
#pragma once

#include <cstdint>
#include <optional>
#include <vector>

#include "base/piece.h"

namespace dragonfly::storage {

// Grows with the highest number that was set, so that an empty set of a large file costs nothing. Not thread-safe.
class PieceBitmap {
 public:
  bool Test(PieceNumber number) const;
  void Set(PieceNumber number);
  void Clear(PieceNumber number);
  void ClearAll() { words_.clear(); }

  // True when every piece of [first, last] is in the set.
  bool TestAll(PieceNumber first, PieceNumber last) const;
  // The smallest member that is not below `from`.
  std::optional<PieceNumber> NextFrom(PieceNumber from) const;

 private:
  std::vector<uint64_t> words_;
};

}  // namespace dragonfly::storage
