// SPDX-License-Identifier: Apache-2.0
#include "storage/piece_bitmap.h"

#include <bit>

namespace dragonfly::storage {
namespace {

constexpr uint32_t kWordBits = 64;

uint64_t MaskOf(PieceNumber number) { return uint64_t{1} << (number.value() % kWordBits); }

}  // namespace

bool PieceBitmap::Test(PieceNumber number) const {
  const size_t word = number.value() / kWordBits;
  return word < words_.size() && (words_[word] & MaskOf(number)) != 0;
}

void PieceBitmap::Set(PieceNumber number) {
  const size_t word = number.value() / kWordBits;
  if (word >= words_.size()) words_.resize(word + 1);
  words_[word] |= MaskOf(number);
}

void PieceBitmap::Clear(PieceNumber number) {
  const size_t word = number.value() / kWordBits;
  if (word < words_.size()) words_[word] &= ~MaskOf(number);
}

bool PieceBitmap::TestAll(PieceNumber first, PieceNumber last) const {
  const size_t first_word = first.value() / kWordBits;
  const size_t last_word = last.value() / kWordBits;
  if (last_word >= words_.size()) return false;
  for (size_t word = first_word; word <= last_word; ++word) {
    uint64_t wanted = ~uint64_t{0};
    if (word == first_word) wanted &= ~uint64_t{0} << (first.value() % kWordBits);
    if (word == last_word) wanted &= ~uint64_t{0} >> (kWordBits - 1 - last.value() % kWordBits);
    if ((words_[word] & wanted) != wanted) return false;
  }
  return true;
}

std::optional<PieceNumber> PieceBitmap::NextFrom(PieceNumber from) const {
  size_t word = from.value() / kWordBits;
  uint64_t mask = ~uint64_t{0} << (from.value() % kWordBits);
  for (; word < words_.size(); ++word, mask = ~uint64_t{0}) {
    const uint64_t bits = words_[word] & mask;
    if (bits != 0) {
      return PieceNumber(static_cast<uint32_t>(word) * kWordBits + static_cast<uint32_t>(std::countr_zero(bits)));
    }
  }
  return std::nullopt;
}

}  // namespace dragonfly::storage
