// SPDX-License-Identifier: Apache-2.0
#include "cli/dfinit/unified_diff.h"

#include <gtest/gtest.h>

#include <cstdlib>
#include <fstream>
#include <iterator>
#include <random>

#include "base/text.h"
#include "tests/support/temp_dir.h"

namespace dragonfly::cli {
namespace {

TEST(UnifiedDiff, IsWhatDiffWrites) {
  EXPECT_EQ(UnifiedDiff("/f", "1\n2\n3\n4\n5\n6\n", "1\n2\n3\n4\nfive\n6\n"),
            "--- /f\n+++ /f\n@@ -2,5 +2,5 @@\n 2\n 3\n 4\n-5\n+five\n 6\n");
  EXPECT_EQ(UnifiedDiff("/f", std::nullopt, "1\n"), "--- /dev/null\n+++ /f\n@@ -0,0 +1 @@\n+1\n");
  EXPECT_EQ(UnifiedDiff("/f", "1\n", std::nullopt), "--- /f\n+++ /dev/null\n@@ -1 +0,0 @@\n-1\n");
  EXPECT_EQ(UnifiedDiff("/f", "1", "1\n"), "--- /f\n+++ /f\n@@ -1 +1 @@\n-1\n\\ No newline at end of file\n+1\n");
  EXPECT_EQ(UnifiedDiff("/f", "1\n", "1\n"), "");
}

TEST(UnifiedDiff, GoesThroughPatchForAnyTexts) {
  dragonfly::testing::TempDir dir;
  std::mt19937 random(7);
  const auto text = [&] {
    std::string result;
    for (unsigned lines = random() % 40; lines > 0; --lines) result += StrCat(random() % 5, "\n");
    if (random() % 4 == 0 && !result.empty()) result.pop_back();
    return result;
  };
  for (int i = 0; i < 60; ++i) {
    const std::string before = text();
    const std::string after = text();
    if (before == after || before.empty() || after.empty()) continue;
    const std::string file = dir.Write("f", before);
    dir.Write("d", UnifiedDiff("f", before, after));
    ASSERT_EQ(std::system(StrCat("cd '", dir.path().string(), "' && patch -s f < d").c_str()), 0);
    std::ifstream patched(file);
    EXPECT_EQ(std::string(std::istreambuf_iterator<char>(patched), {}), after);
  }
}

}  // namespace
}  // namespace dragonfly::cli
