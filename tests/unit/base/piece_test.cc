// SPDX-License-Identifier: Apache-2.0
#include "base/piece.h"

#include <gtest/gtest.h>

#include <limits>

#include "base/units.h"

namespace dragonfly {
namespace {

// Source of the table: the rule of client v1.0.0, dragonfly-client/src/resource/piece.rs.
TEST(PieceLengthFor, CutsIntoAboutFiveHundredPieces) {
  const struct {
    uint64_t content_length;
    uint64_t piece_length;
    uint32_t pieces;
  } kCases[] = {
      {0, 4 * kMiB, 0},
      {1, 4 * kMiB, 1},
      {4194304, 4 * kMiB, 1},
      {4194305, 4 * kMiB, 2},
      {2097152000, 4 * kMiB, 500},
      {2097152499, 4 * kMiB, 501},
      {2097152500, 8 * kMiB, 251},
      {3 * kGiB, 8 * kMiB, 384},
      {4194304000, 8 * kMiB, 500},
      {4194304500, 16 * kMiB, 251},
      {8388608000, 16 * kMiB, 500},
      {8388609000, 32 * kMiB, 251},
      {10 * kGiB, 32 * kMiB, 320},
      {16777216000, 32 * kMiB, 500},
      {16777217000, 64 * kMiB, 251},
      {20 * kGiB, 64 * kMiB, 320},
      {100 * kGiB, 64 * kMiB, 1600},
      {1024 * kGiB, 64 * kMiB, 16384},
  };
  for (const auto& test : kCases) {
    EXPECT_EQ(PieceLengthFor(test.content_length), test.piece_length) << test.content_length;
    const auto layout = PieceLayout::Make(test.content_length, test.piece_length);
    ASSERT_TRUE(layout.ok()) << layout.status();
    EXPECT_EQ(layout->piece_count(), test.pieces) << test.content_length;
  }
  EXPECT_EQ(PieceLengthFor(std::numeric_limits<uint64_t>::max()), kPieceLengthMax);
}

TEST(PieceLayout, GivesEachByteToOnePiece) {
  const auto layout = PieceLayout::Make(2500, 1000);
  ASSERT_TRUE(layout.ok());
  EXPECT_EQ(layout->piece_count(), 3u);
  EXPECT_EQ(layout->RangeOf(PieceNumber(0)), (ByteRange{0, 1000}));
  EXPECT_EQ(layout->RangeOf(PieceNumber(1)), (ByteRange{1000, 1000}));
  EXPECT_EQ(layout->RangeOf(PieceNumber(2)), (ByteRange{2000, 500}));
  EXPECT_TRUE(layout->Contains(PieceNumber(2)));
  EXPECT_FALSE(layout->Contains(PieceNumber(3)));
}

TEST(PieceLayout, NamesThePiecesThatARangeTouches) {
  const auto layout = PieceLayout::Make(5000, 1000);
  ASSERT_TRUE(layout.ok());
  const struct {
    ByteRange range;
    uint32_t first;
    uint32_t last;
  } kCases[] = {
      {{1500, 2000}, 1, 3}, {{0, 1}, 0, 0},    {{999, 2}, 0, 1},
      {{1000, 1000}, 1, 1}, {{4999, 1}, 4, 4}, {{0, 5000}, 0, 4},
  };
  for (const auto& test : kCases) {
    const PieceLayout::Interval interval = layout->PiecesOf(test.range);
    EXPECT_EQ(interval.first.value(), test.first) << ToHttpRange(test.range);
    EXPECT_EQ(interval.last.value(), test.last) << ToHttpRange(test.range);
  }
}

TEST(PieceLayout, RefusesSenselessCuts) {
  EXPECT_EQ(PieceLayout::Make(100, 0).status().code(), absl::StatusCode::kInvalidArgument);
  EXPECT_TRUE(PieceLayout::Make(kPieceCountMax, 1).ok());
  EXPECT_EQ(PieceLayout::Make(uint64_t{kPieceCountMax} + 1, 1).status().code(), absl::StatusCode::kInvalidArgument);
  EXPECT_EQ(PieceLayout::Make(std::numeric_limits<uint64_t>::max(), 1).status().code(),
            absl::StatusCode::kInvalidArgument);
}

TEST(PieceLayout, ReachesTheLastByteOfTheLargestFile) {
  constexpr uint64_t kMax = std::numeric_limits<uint64_t>::max();
  const auto layout = PieceLayout::Make(kMax, uint64_t{1} << 40);
  ASSERT_TRUE(layout.ok()) << layout.status();
  const PieceNumber last(layout->piece_count() - 1);
  EXPECT_EQ(layout->RangeOf(last).end(), kMax);
  EXPECT_EQ(layout->PiecesOf({kMax - 1, 1}).first, last);
}

}  // namespace
}  // namespace dragonfly
