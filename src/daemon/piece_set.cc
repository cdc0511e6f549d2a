// SPDX-License-Identifier: Apache-2.0
#include "daemon/piece_set.h"

#include <algorithm>
#include <bit>

namespace dragonfly::daemon {
namespace {

// The lowest set bit at or behind `from` of the words that `word_at(index)` gives.
template <typename WordAt>
std::optional<PieceNumber> Scan(uint32_t from, size_t words, WordAt word_at) {
  for (size_t index = from / 64; index < words; ++index) {
    uint64_t word = word_at(index);
    if (index == from / 64) word &= ~uint64_t{0} << (from % 64);
    if (word != 0) {
      return PieceNumber(static_cast<uint32_t>(index) * 64 + static_cast<uint32_t>(std::countr_zero(word)));
    }
  }
  return std::nullopt;
}

}  // namespace

bool PieceSet::Insert(PieceNumber number) {
  if (number.value() >= piece_count_ || Contains(number)) return false;
  words_[number.value() / 64] |= uint64_t{1} << (number.value() % 64);
  ++size_;
  return true;
}

bool PieceSet::Erase(PieceNumber number) {
  if (!Contains(number)) return false;
  words_[number.value() / 64] &= ~(uint64_t{1} << (number.value() % 64));
  --size_;
  return true;
}

void PieceSet::Clear() {
  std::fill(words_.begin(), words_.end(), 0);
  size_ = 0;
}

std::optional<PieceNumber> PieceSet::NextFrom(PieceNumber from) const {
  return Scan(from.value(), words_.size(), [this](size_t index) { return words_[index]; });
}

std::optional<PieceNumber> PieceSet::NextCommon(const PieceSet& a, const PieceSet& b, PieceNumber from) {
  const size_t words = std::min(a.words_.size(), b.words_.size());
  return Scan(from.value(), words, [&](size_t index) { return a.words_[index] & b.words_[index]; });
}

}  // namespace dragonfly::daemon
