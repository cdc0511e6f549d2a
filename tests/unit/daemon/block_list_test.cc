// SPDX-License-Identifier: Apache-2.0
#include "daemon/block_list.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <string>

#include "base/status.h"

namespace dragonfly::daemon {
namespace {

using ::testing::HasSubstr;
using ::testing::IsEmpty;

BlockList Parse(std::string_view json) {
  auto parsed = ParseClientConfig(json, "client_config");
  EXPECT_TRUE(parsed.ok()) << parsed.status();
  if (!parsed.ok()) return BlockList();
  EXPECT_THAT(parsed->warnings, IsEmpty());
  return parsed->block_list;
}

std::string ErrorOf(std::string_view json) {
  const auto parsed = ParseClientConfig(json, "client_config");
  EXPECT_EQ(parsed.status().code(), absl::StatusCode::kInvalidArgument);
  return std::string(MessageOf(parsed.status()));
}

BlockRules Rules(const std::string& rules) {
  return Parse(R"({"block_list":{"task":{"download":)" + rules + "}}}").task.download;
}

BlockQuery Url(std::string_view url) {
  BlockQuery query;
  query.url = url;
  return query;
}

TEST(BlockList, MatchesByApplicationTagAndPriority) {
  const BlockRules rules = Rules(R"({"applications":["ml","web"],"tags":["nightly"],"priorities":[0,6]})");
  BlockQuery query;
  query.url = "http://origin/file";
  EXPECT_FALSE(rules.Matches(query));
  query.application = "web";
  EXPECT_TRUE(rules.Matches(query));
  query.application = "we";
  EXPECT_FALSE(rules.Matches(query));
  query.tag = "nightly";
  EXPECT_TRUE(rules.Matches(query));
  query.tag = "";
  query.priority = 6;
  EXPECT_TRUE(rules.Matches(query));
  query.priority = 0;
  EXPECT_TRUE(rules.Matches(query));
  query.priority = 1;
  EXPECT_FALSE(rules.Matches(query));
}

TEST(BlockList, FindsPatternsAnywhereInTheUrl) {
  const BlockRules rules = Rules(R"({"urls":[".*\\.blocked\\.com.*","^https://forbidden\\.","\u003cx\u003e"]})");
  EXPECT_TRUE(rules.Matches(Url("https://example.blocked.com/file")));
  EXPECT_TRUE(rules.Matches(Url("https://forbidden.example.com/file")));
  EXPECT_TRUE(rules.Matches(Url("http://a/<x>")));
  EXPECT_FALSE(rules.Matches(Url("https://blocked-com/file")));
  EXPECT_FALSE(rules.Matches(Url("http://a/?next=https://forbidden.example.com")));
  EXPECT_FALSE(rules.Matches(BlockQuery()));
}

TEST(BlockList, AnEmptyTextIsNoMatch) {
  const BlockRules rules = Rules(R"({"applications":[""],"tags":[""],"urls":[],"priorities":null})");
  BlockQuery query;
  query.url = "http://origin/file";
  query.priority = 0;
  EXPECT_FALSE(rules.Matches(query));
}

TEST(BlockList, KeepsThePurposesApartInBothSpellings) {
  for (const char* json : {R"({"block_list":{"task":{"download":{"tags":["a"]}},
                               "persistent_task":{"download":{"tags":["b"]},"upload":{"tags":["c"]}},
                               "persistent_cache_task":{"download":{"tags":["d"]},"upload":{"tags":["e"]}}}})",
                           R"({"blockList":{"task":{"download":{"tags":["a"]}},
                               "persistentTask":{"download":{"tags":["b"]},"upload":{"tags":["c"]}},
                               "persistentCacheTask":{"download":{"tags":["d"]},"upload":{"tags":["e"]}}}})"}) {
    const BlockList list = Parse(json);
    const BlockRules* const in_order[] = {&list.task.download, &list.persistent_task.download,
                                          &list.persistent_task.upload, &list.persistent_cache_task.download,
                                          &list.persistent_cache_task.upload};
    const char* const tags[] = {"a", "b", "c", "d", "e"};
    for (size_t rules = 0; rules < 5; ++rules) {
      for (size_t tag = 0; tag < 5; ++tag) {
        BlockQuery query;
        query.tag = tags[tag];
        EXPECT_EQ(in_order[rules]->Matches(query), rules == tag) << rules << " " << tags[tag];
      }
    }
    EXPECT_TRUE(list.task.upload.empty());
    EXPECT_FALSE(list.empty());
  }
}

// What managers send for a cluster without a list.
TEST(BlockList, NothingBlocksNothing) {
  for (const char* json : {"", "null", "{}", R"({"load_limit":50})", R"({"block_list":null})",
                           R"({"load_limit":50,"block_list":{"task":null,"persistent_task":{"download":null}}})"}) {
    EXPECT_TRUE(Parse(json).empty()) << json;
  }
}

TEST(BlockList, NamesWhatIsWrong) {
  EXPECT_THAT(ErrorOf(R"({"block_list":{"task":{"download":{"urls":["a(b"]}}}})"),
              AllOf(HasSubstr("client_config:1: block_list.task.download.urls"), HasSubstr("a(b")));
  EXPECT_THAT(ErrorOf(R"({"block_list":{"task":{"download":{"priorities":["high"]}}}})"),
              HasSubstr("block_list.task.download.priorities"));
  EXPECT_THAT(ErrorOf(R"({"block_list":{"task":{"download":{"tags":"a"}}}})"),
              HasSubstr("block_list.task.download.tags"));
  EXPECT_THAT(ErrorOf(R"({"block_list":)"), HasSubstr("client_config:1"));
}

TEST(BlockList, WarnsOfKeysThatItDoesNotKnow) {
  const auto parsed = ParseClientConfig(R"({"block_list":{"cache_task":{}}})", "client_config");
  ASSERT_TRUE(parsed.ok());
  EXPECT_THAT(parsed->warnings, ElementsAre(HasSubstr("block_list.cache_task")));
}

}  // namespace
}  // namespace dragonfly::daemon
