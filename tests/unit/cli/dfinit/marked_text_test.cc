// SPDX-License-Identifier: Apache-2.0
#include "cli/dfinit/marked_text.h"

#include <gtest/gtest.h>

#include "absl/status/status.h"

namespace dragonfly::cli {
namespace {

TEST(MarkedText, ComesOutAgainFromEveryPlace) {
  const std::string text = "a\nb\n\nc\n";
  for (size_t at = 1; at <= 5; ++at) {
    for (size_t replaced = 0; at + replaced <= 5; ++replaced) {
      const std::string marked = WithMarked(text, {{at, replaced, {"x", "", "y"}}});
      EXPECT_NE(marked, text);
      EXPECT_TRUE(HasMarked(marked));
      const auto without = WithoutMarked(marked, "f");
      ASSERT_TRUE(without.ok());
      EXPECT_EQ(*without, text) << at << " " << replaced;
    }
  }
}

TEST(MarkedText, TakesTheLineEndsOfTheText) {
  const std::string marked = WithMarked("a\r\nb\r\n", {{2, 1, {"x"}}});
  for (size_t i = 0; i < marked.size(); ++i) {
    if (marked[i] == '\n') EXPECT_EQ(marked[i - 1], '\r') << i;
  }
  EXPECT_EQ(*WithoutMarked(marked, "f"), "a\r\nb\r\n");
}

TEST(MarkedText, SeveralEditsStayApart) {
  const std::string marked = WithMarked("a\nb\nc\n", {{1, 1, {"x"}}, {3, 0, {"y"}}, {4, 0, {"z"}}});
  std::string plain;
  for (const std::string_view line : LinesOf(marked)) {
    if (!line.starts_with('#')) plain.append(line).append(" ");
  }
  EXPECT_EQ(plain, "x b y c z ");
  EXPECT_EQ(*WithoutMarked(marked, "f"), "a\nb\nc\n");
}

TEST(MarkedText, CommentsThatDoNotPairAreNamed) {
  for (const char* text :
       {"a\n# dfinit-begin\n", "a\n# dfinit-end\n", "a\n# dfinit-begin\n# dfinit-begin\n# dfinit-end\n"}) {
    const auto without = WithoutMarked(text, "/etc/f");
    ASSERT_FALSE(without.ok()) << text;
    EXPECT_EQ(without.status().code(), absl::StatusCode::kFailedPrecondition);
    EXPECT_EQ(without.status().message().substr(0, 9), "/etc/f:2:");
  }
}

}  // namespace
}  // namespace dragonfly::cli
