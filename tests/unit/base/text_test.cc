// SPDX-License-Identifier: Apache-2.0
#include "base/text.h"

#include <gtest/gtest.h>

#include <cstdint>
#include <string>

namespace dragonfly {
namespace {

TEST(StrCat, TakesBothKindsOfView) {
  const std::string_view std_view = "b";
  const absl::string_view absl_view = "c";
  EXPECT_EQ(StrCat("a", std_view, absl_view, std::string("d"), 5, uint64_t{6}, -7, 0.5), "abcd56-70.5");
  EXPECT_EQ(StrCat(), "");
}

TEST(Quoted, ShowsAStrangersTextShortAndPrintable) {
  EXPECT_EQ(Quoted("abc"), "\"abc\"");
  EXPECT_EQ(Quoted("a\"\n\x1b"), "\"a\\\"\\n\\x1b\"");
  EXPECT_EQ(Quoted("abcdef", 3), "\"abc...\"");
  EXPECT_EQ(Quoted("abc", 3), "\"abc\"");
}

TEST(TrimSpace, CutsBothEnds) {
  EXPECT_EQ(TrimSpace(" \t a b \r\n"), "a b");
  EXPECT_EQ(TrimSpace("  "), "");
}

TEST(ParseDecimal, WantsTheWholeTextAndTheRange) {
  EXPECT_EQ(ParseDecimal<uint32_t>("4294967295"), 4294967295u);
  EXPECT_EQ(ParseDecimal<int>("-7"), -7);
  for (const char* text : {"", " 1", "1 ", "+1", "-1", "0x1", "1.0", "4294967296"}) {
    EXPECT_EQ(ParseDecimal<uint32_t>(text), std::nullopt) << text;
  }
}

}  // namespace
}  // namespace dragonfly
