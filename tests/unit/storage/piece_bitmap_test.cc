// SPDX-License-Identifier: Apache-2.0
#include "storage/piece_bitmap.h"

#include <gtest/gtest.h>

#include <random>
#include <set>

namespace dragonfly::storage {
namespace {

TEST(PieceBitmap, AnswersLikeASetOfNumbers) {
  std::mt19937 random(1);
  PieceBitmap bitmap;
  std::set<uint32_t> model;
  for (int step = 0; step < 20'000; ++step) {
    const uint32_t number = random() % 300;
    switch (random() % 5) {
      case 0:
      case 1:
        bitmap.Set(PieceNumber(number));
        model.insert(number);
        break;
      case 2:
        bitmap.Clear(PieceNumber(number));
        model.erase(number);
        break;
      case 3: {
        const uint32_t last = number + random() % 100;
        bool all = true;
        for (uint32_t n = number; n <= last; ++n) all = all && model.contains(n);
        ASSERT_EQ(bitmap.TestAll(PieceNumber(number), PieceNumber(last)), all) << number << ".." << last;
        break;
      }
      case 4: {
        const auto next = model.lower_bound(number);
        const auto found = bitmap.NextFrom(PieceNumber(number));
        ASSERT_EQ(found.has_value(), next != model.end());
        if (found) ASSERT_EQ(found->value(), *next);
        break;
      }
    }
    ASSERT_EQ(bitmap.Test(PieceNumber(number)), model.contains(number));
  }
}

TEST(PieceBitmap, FindsRunsAcrossWords) {
  PieceBitmap bitmap;
  for (uint32_t n = 60; n <= 200; ++n) bitmap.Set(PieceNumber(n));
  EXPECT_TRUE(bitmap.TestAll(PieceNumber(60), PieceNumber(200)));
  EXPECT_TRUE(bitmap.TestAll(PieceNumber(63), PieceNumber(64)));
  EXPECT_FALSE(bitmap.TestAll(PieceNumber(59), PieceNumber(200)));
  EXPECT_FALSE(bitmap.TestAll(PieceNumber(60), PieceNumber(201)));
  bitmap.Clear(PieceNumber(128));
  EXPECT_FALSE(bitmap.TestAll(PieceNumber(60), PieceNumber(200)));
}

}  // namespace
}  // namespace dragonfly::storage
