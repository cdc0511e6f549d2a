// SPDX-License-Identifier: Apache-2.0
#include "source/listing.h"

#include <gtest/gtest.h>

namespace dragonfly::source {
namespace {

using namespace std::string_view_literals;

TEST(EncodeListedPath, EncodesEachComponent) {
  EXPECT_EQ(EncodeListedPath("a"), "a");
  EXPECT_EQ(EncodeListedPath("a b/c?d#e%2f\\"), "a%20b/c%3Fd%23e%252f%5C");
  EXPECT_EQ(EncodeListedPath("..."), "...");
  EXPECT_EQ(EncodeListedPath("\xc3\xa4"), "%C3%A4");
}

TEST(EncodeListedPath, RefusesWhatWouldLeaveTheDirectory) {
  for (const std::string_view path :
       {""sv, "/"sv, "/a"sv, "a/"sv, "a//b"sv, "."sv, ".."sv, "a/../b"sv, "../a"sv, "a/.."sv, "a/./b"sv, "a\0b"sv}) {
    EXPECT_EQ(EncodeListedPath(path), std::nullopt) << path;
  }
}

TEST(Listing, IsBoundedAndNamesWhatItRefuses) {
  Listing listing("x://h/d/", 2);
  EXPECT_TRUE(listing.AddFile("f", 7).ok());
  const absl::Status bad = listing.AddFile("../../etc/passwd", 7);
  EXPECT_TRUE(absl::IsFailedPrecondition(bad));
  EXPECT_NE(bad.ToString().find("../../etc/passwd"), std::string::npos);
  EXPECT_TRUE(listing.AddDirectory("d").ok());
  EXPECT_TRUE(absl::IsResourceExhausted(listing.AddFile("g", 1)));
  const std::vector<OriginEntry> entries = listing.Take();
  ASSERT_EQ(entries.size(), 2u);
  EXPECT_EQ(entries[0].url, "x://h/d/f");
  EXPECT_EQ(entries[0].content_length, 7u);
  EXPECT_EQ(entries[1].url, "x://h/d/d/");
  EXPECT_TRUE(entries[1].is_directory);
}

TEST(DirectoryUrl, EndsInASlashAndHasNoQuery) {
  EXPECT_EQ(DirectoryUrl("hdfs://host/a/b?x#y").value(), "hdfs://host/a/b/");
  EXPECT_EQ(DirectoryUrl("hf://Owner/name").value(), "hf://Owner/name/");
  EXPECT_EQ(DirectoryUrl("s3://bucket").value(), "s3://bucket/");
  EXPECT_FALSE(DirectoryUrl("nonsense").ok());
}

TEST(OneLine, KeepsMessagesShortAndPrintable) {
  EXPECT_EQ(OneLine(" a\nb\x1b[31m "), "a b [31m");
  EXPECT_EQ(OneLine(std::string(500, 'x')).size(), 200u);
}

}  // namespace
}  // namespace dragonfly::source
