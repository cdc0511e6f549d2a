// SPDX-License-Identifier: Apache-2.0
#include "base/byte_range.h"

#include <gtest/gtest.h>

#include <limits>
#include <optional>
#include <tuple>

namespace dragonfly {
namespace {

constexpr uint64_t kMax = std::numeric_limits<uint64_t>::max();

TEST(ClampRange, CutsTheEndToTheContent) {
  EXPECT_EQ(*ClampRange(0, 10, 100), (ByteRange{0, 10}));
  EXPECT_EQ(*ClampRange(99, 1, 100), (ByteRange{99, 1}));
  EXPECT_EQ(*ClampRange(90, 50, 100), (ByteRange{90, 10}));
  EXPECT_EQ(*ClampRange(1, kMax, 100), (ByteRange{1, 99}));
  EXPECT_EQ(*ClampRange(kMax - 1, kMax, kMax), (ByteRange{kMax - 1, 1}));
}

TEST(ClampRange, RefusesWhatLiesOutside) {
  for (const auto& [offset, length, content] :
       {std::tuple<uint64_t, uint64_t, uint64_t>{0, 0, 100}, {100, 1, 100}, {kMax, 1, 100}, {0, 1, 0}}) {
    EXPECT_EQ(ClampRange(offset, length, content).status().code(), absl::StatusCode::kInvalidArgument);
  }
}

TEST(ParseHttpRange, FollowsRfc9110) {
  const struct {
    const char* header;
    uint64_t content_length;
    std::optional<ByteRange> range;
  } kCases[] = {
      {"bytes=0-99", 1000, ByteRange{0, 100}},
      {"bytes=0-0", 1000, ByteRange{0, 1}},
      {"Bytes = 0-0", 1000, ByteRange{0, 1}},
      {"bytes=5-", 1000, ByteRange{5, 995}},
      {"bytes=-10", 1000, ByteRange{990, 10}},
      {"bytes=-5000", 1000, ByteRange{0, 1000}},
      {"bytes=0-5000", 1000, ByteRange{0, 1000}},
      {"bytes=0-99999999999999999999999", 1000, ByteRange{0, 1000}},
      {"bytes=0-18446744073709551615", kMax, ByteRange{0, kMax}},
      {"bytes=999-", 1000, ByteRange{999, 1}},
      {"bytes=1-2, 5-6", 1000, ByteRange{1, 2}},
      {"bytes= ,1-2,,", 1000, ByteRange{1, 2}},
      // Not satisfiable.
      {"bytes=1000-", 1000, std::nullopt},
      {"bytes=1000-1001", 1000, std::nullopt},
      {"bytes=-0", 1000, std::nullopt},
      {"bytes=0-", 0, std::nullopt},
      {"bytes=-1", 0, std::nullopt},
      {"bytes=99999999999999999999999-", 1000, std::nullopt},
      // Not a range.
      {"", 1000, std::nullopt},
      {"bytes", 1000, std::nullopt},
      {"bytes=", 1000, std::nullopt},
      {"bytes=,", 1000, std::nullopt},
      {"bytes=-", 1000, std::nullopt},
      {"bytes=5", 1000, std::nullopt},
      {"bytes=5-3", 1000, std::nullopt},
      {"bytes=a-b", 1000, std::nullopt},
      {"bytes=+1-2", 1000, std::nullopt},
      {"bytes=1-2-3", 1000, std::nullopt},
      {"bytes=--1", 1000, std::nullopt},
      {"bytes=0-1,x", 1000, std::nullopt},
      {"bytes 0-1", 1000, std::nullopt},
      {"pages=0-1", 1000, std::nullopt},
  };
  for (const auto& test : kCases) {
    const absl::StatusOr<ByteRange> range = ParseHttpRange(test.header, test.content_length);
    if (test.range) {
      ASSERT_TRUE(range.ok()) << test.header << ": " << range.status();
      EXPECT_EQ(*range, *test.range) << test.header;
    } else {
      EXPECT_EQ(range.status().code(), absl::StatusCode::kFailedPrecondition) << test.header;
    }
  }
}

TEST(ToHttpRange, IsWhatParseHttpRangeReads) {
  EXPECT_EQ(ToHttpRange({0, 1}), "bytes=0-0");
  EXPECT_EQ(ToHttpRange({4194304, 4194304}), "bytes=4194304-8388607");
  EXPECT_EQ(*ParseHttpRange(ToHttpRange({17, 42}), 1000), (ByteRange{17, 42}));
}

}  // namespace
}  // namespace dragonfly
