// SPDX-License-Identifier: Apache-2.0
#include "config/document.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <string>

#include "base/status.h"
#include "base/text.h"

namespace dragonfly::config {
namespace {

using testing::HasSubstr;
using testing::StartsWith;
using Kind = DocumentNode::Kind;

std::string ErrorOf(std::string_view text) {
  const auto document = ParseDocument(text, "f.yaml");
  if (document.ok()) return "";
  EXPECT_EQ(document.status().code(), absl::StatusCode::kInvalidArgument);
  return std::string(MessageOf(document.status()));
}

TEST(ParseDocument, KeepsLinesAndKinds) {
  const auto root = ParseDocument("# comment\na: 1\nb:\n  - x\n  - 'y'\nc: {d: ~}\ne: !!str 5\n", "f.yaml");
  ASSERT_TRUE(root.ok()) << root.status();
  ASSERT_EQ((*root)->kind, Kind::kMap);
  const auto& entries = (*root)->entries;
  ASSERT_EQ(entries.size(), 4u);
  EXPECT_EQ(entries[0].key, "a");
  EXPECT_EQ(entries[0].line, 2);
  EXPECT_EQ(entries[0].value->text, "1");
  EXPECT_TRUE(entries[0].value->plain);
  ASSERT_EQ(entries[1].value->kind, Kind::kList);
  EXPECT_EQ(entries[1].value->items[1]->line, 5);
  EXPECT_FALSE(entries[1].value->items[1]->plain);
  EXPECT_EQ(entries[2].value->entries[0].value->kind, Kind::kNull);
  EXPECT_FALSE(entries[3].value->plain);
}

TEST(ParseDocument, TakesAnEmptyFileAsNull) {
  for (const char* text : {"", "\n", "# only a comment\n", "---\n", "~"}) {
    const auto root = ParseDocument(text, "f.yaml");
    ASSERT_TRUE(root.ok()) << root.status();
    EXPECT_EQ((*root)->kind, Kind::kNull) << text;
  }
}

TEST(ParseDocument, NamesTheLineOfASyntaxError) {
  EXPECT_THAT(ErrorOf("a: 1\nb: [1, 2\n"), StartsWith("f.yaml:"));
  EXPECT_THAT(ErrorOf("a: 1\n  b: 2\n"), StartsWith("f.yaml:2: "));
  EXPECT_THAT(ErrorOf("a: 1\nb: *nobody\n"), StartsWith("f.yaml:2: "));
  EXPECT_THAT(ErrorOf("a: \"x"), StartsWith("f.yaml:"));
}

TEST(ParseDocument, TakesOneDocumentOnly) {
  EXPECT_THAT(ErrorOf("a: 1\n---\nb: 2\n"), HasSubstr("more than one YAML document"));
  EXPECT_EQ(ErrorOf("---\na: 1\n...\n"), "");
}

TEST(ParseDocument, RefusesKeysThatAreNoText) {
  for (const char* text : {"? [a]\n: 1\n", "? {a: 1}\n: 1\n", "~: 1\n", "x: &a [1]\n*a : 2\n"}) {
    EXPECT_THAT(ErrorOf(text), HasSubstr("a key must be a single text")) << text;
  }
}

TEST(ParseDocument, ResolvesAliases) {
  const auto root = ParseDocument("a: &x {k: v}\nb: *x\nc: &y 7\nd: [*y, *y]\n", "f.yaml");
  ASSERT_TRUE(root.ok()) << root.status();
  EXPECT_EQ((*root)->entries[1].value->entries[0].value->text, "v");
  EXPECT_EQ((*root)->entries[3].value->items[1]->text, "7");
}

TEST(ParseDocument, RefusesAnAliasOfItsOwnContainer) { EXPECT_THAT(ErrorOf("a: &x [*x]\n"), HasSubstr("contains it")); }

TEST(ParseDocument, RefusesDeepNesting) {
  const std::string deep(kNestingMax, '[');
  EXPECT_EQ(ErrorOf(deep + std::string(kNestingMax, ']')), "");
  EXPECT_THAT(ErrorOf("[" + deep + "]" + std::string(kNestingMax, ']')), HasSubstr("nested deeper"));
  EXPECT_NE(ErrorOf(std::string(100'000, '[')), "");
  EXPECT_NE(ErrorOf(std::string(100'000, '{')), "");
  std::string dashes;
  for (int i = 0; i < 10'000; ++i) dashes += "- ";
  EXPECT_THAT(ErrorOf(dashes), HasSubstr("nested deeper"));
}

TEST(ParseDocument, RefusesDepthByAliases) {
  std::string text = "a0: &a0 [1]\n";
  for (int i = 1; i < 80; ++i) text += StrCat("a", i, ": &a", i, " [*a", i - 1, "]\n");
  EXPECT_THAT(ErrorOf(text), HasSubstr("nested deeper"));
}

TEST(ParseDocument, RefusesAliasBombs) {
  std::string text = "a0: &a0 [1,1,1,1,1,1,1,1,1,1]\n";
  for (int i = 1; i < 10; ++i) {
    text += StrCat("a", i, ": &a", i, " [");
    for (int j = 0; j < 10; ++j) text += StrCat(j == 0 ? "" : ",", "*a", i - 1);
    text += "]\n";
  }
  EXPECT_THAT(ErrorOf(text), HasSubstr("more than 100000 values"));
}

TEST(ParseDocument, RefusesTooManyValuesAndTooManyBytes) {
  std::string many = "a: [";
  for (size_t i = 0; i <= kNodesMax; ++i) many += "1,";
  EXPECT_THAT(ErrorOf(many + "]"), HasSubstr("more than 100000 values"));
  EXPECT_THAT(ErrorOf("a: " + std::string(kFileSizeMax, 'x')), HasSubstr("larger than"));
}

}  // namespace
}  // namespace dragonfly::config
