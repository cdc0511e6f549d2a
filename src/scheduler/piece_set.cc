// SPDX-License-Identifier: Apache-2.0
#include "scheduler/piece_set.h"

namespace dragonfly::scheduler {

bool PieceSet::Insert(PieceNumber number) {
  const size_t word = number.value() / 64;
  const uint64_t bit = uint64_t{1} << (number.value() % 64);
  if (word >= words_.size()) words_.resize(word + 1);
  if ((words_[word] & bit) != 0) return false;
  words_[word] |= bit;
  ++count_;
  return true;
}

bool PieceSet::Contains(PieceNumber number) const {
  const size_t word = number.value() / 64;
  return word < words_.size() && (words_[word] >> (number.value() % 64) & 1) != 0;
}

void PieceSet::Freeze() { std::vector<uint64_t>().swap(words_); }

}  // namespace dragonfly::scheduler
