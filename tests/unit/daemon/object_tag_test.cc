// SPDX-License-Identifier: Apache-2.0
#include "daemon/object_tag.h"

#include <gtest/gtest.h>

namespace dragonfly::daemon {
namespace {

std::string Tag(const std::string& etag, const std::string& modified) {
  std::map<std::string, std::string> header;
  if (!etag.empty()) header["etag"] = etag;
  if (!modified.empty()) header["last-modified"] = modified;
  return ObjectTag(header);
}

TEST(ObjectTag, IsShortAndSaysNothingWhereNothingIsKnown) {
  EXPECT_EQ(Tag("", ""), "");
  EXPECT_EQ(Tag("W/\"weak\"", ""), "");
  EXPECT_EQ(Tag("\"" + std::string(10'000, 'e') + "\"", "Wed, 25 Nov 2026 12:00:00 GMT").size(), 33u);
}

TEST(ObjectTag, DiffersOnlyWhenTheVersionsDoForCertain) {
  EXPECT_TRUE(TagsDiffer(Tag("\"1\"", ""), Tag("\"2\"", "")));
  EXPECT_TRUE(TagsDiffer(Tag("\"1\"", "Mon"), Tag("\"2\"", "Tue")));
  EXPECT_TRUE(TagsDiffer(Tag("", "Mon"), Tag("", "Tue")));
  EXPECT_TRUE(TagsDiffer(Tag("\"1\"", ""), Tag("\"2\"", "Mon")));

  EXPECT_FALSE(TagsDiffer(Tag("\"1\"", ""), Tag("\"1\"", "")));
  EXPECT_FALSE(TagsDiffer(Tag("\"1\"", "Mon"), Tag("\"2\"", "Mon"))) << "two servers with ETags of their own";
  EXPECT_FALSE(TagsDiffer(Tag("\"1\"", ""), Tag("", "Mon"))) << "nothing to compare";
  EXPECT_FALSE(TagsDiffer("", Tag("\"1\"", "")));
  EXPECT_FALSE(TagsDiffer("no tag", Tag("\"1\"", "")));
  EXPECT_FALSE(TagsDiffer(std::string(1000, 'a') + "-", Tag("\"1\"", "")));
}

}  // namespace
}  // namespace dragonfly::daemon
