// SPDX-License-Identifier: Apache-2.0
#include "cli/include_globs.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

namespace dragonfly::cli {
namespace {

bool Matches(const std::string& pattern, const std::string& path) {
  const auto globs = IncludeGlobs::Parse({pattern});
  EXPECT_TRUE(globs.ok()) << pattern;
  return globs.ok() && globs->Match(path);
}

TEST(IncludeGlobs, MatchWithinANameAndAcrossDirectories) {
  EXPECT_TRUE(Matches("a.txt", "a.txt"));
  EXPECT_FALSE(Matches("a.txt", "d/a.txt"));
  EXPECT_TRUE(Matches("*.txt", ".txt"));
  EXPECT_FALSE(Matches("*.txt", "d/a.txt"));
  EXPECT_TRUE(Matches("**/*.txt", "a.txt"));
  EXPECT_TRUE(Matches("**/*.txt", "d/e/a.txt"));
  EXPECT_TRUE(Matches("d/**/a", "d/a"));
  EXPECT_TRUE(Matches("d/**/a", "d/x/y/a"));
  EXPECT_FALSE(Matches("d/**/a", "e/x/a"));
  EXPECT_TRUE(Matches("part-[0-9]?", "part-17"));
  EXPECT_FALSE(Matches("part-[!0-9]?", "part-17"));
  EXPECT_TRUE(Matches("[]]", "]"));
  EXPECT_TRUE(Matches("d/", "d/a"));
  EXPECT_TRUE(Matches("d/", "d/e/f"));
  EXPECT_FALSE(Matches("d/", "d"));
  EXPECT_FALSE(Matches("d/", "dd/a"));
  EXPECT_TRUE(Matches("a\\*", "a\\b"));
}

TEST(IncludeGlobs, MatchEverythingWithoutPatternsAndWhatAnyPatternMatches) {
  EXPECT_TRUE(IncludeGlobs::Parse({})->Match("d/a"));
  const auto two = IncludeGlobs::Parse({"a", "b"});
  EXPECT_TRUE(two->Match("a") && two->Match("b"));
  EXPECT_FALSE(two->Match("c"));
}

TEST(IncludeGlobs, RefuseWhatIsNoGlobOrLeavesTheDirectory) {
  for (const char* const wrong : {"a[", "a[!", "[]", "***", "a**", "d/**b/c"}) {
    EXPECT_EQ(IncludeGlobs::Parse({wrong}).status().message(),
              std::string("invalid glob pattern in include_files: '") + wrong + "'");
  }
  for (const char* const wrong : {"", "/", "/a", "../a", "a/../b", "./a", "a//b", "a/.", "a//"}) {
    EXPECT_EQ(IncludeGlobs::Parse({wrong}).status().message(),
              std::string("path is not a normal relative path in include_files: '") + wrong +
                  "'. It must not contain '..', '.', or start with '/'.");
  }
}

TEST(IncludeGlobs, TellPlainPathsWhenThereIsNothingElse) {
  EXPECT_THAT(IncludeGlobs::Parse({"b", "d/a", "b"})->PlainPaths(), testing::ElementsAre("b", "d/a"));
  EXPECT_TRUE(IncludeGlobs::Parse({"b", "d/"})->PlainPaths().empty());
  EXPECT_TRUE(IncludeGlobs::Parse({"b", "*"})->PlainPaths().empty());
  EXPECT_TRUE(IncludeGlobs::Parse({})->PlainPaths().empty());
}

TEST(IncludeGlobs, AreNotSlowForAnyPattern) {
  std::string pattern = "a";
  std::string path = "a";
  for (int i = 0; i < 200; ++i) {
    pattern += "/**/a";
    path += "/a";
  }
  EXPECT_FALSE(Matches(pattern + "/b", path));
}

}  // namespace
}  // namespace dragonfly::cli
