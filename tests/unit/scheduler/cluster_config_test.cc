// SPDX-License-Identifier: Apache-2.0
#include "scheduler/cluster_config.h"

#include "gmock/gmock.h"
#include "gtest/gtest.h"
#include "tests/support/temp_dir.h"

namespace dragonfly::scheduler {
namespace {

using ::testing::ElementsAre;
using ::testing::HasSubstr;
using ::testing::IsEmpty;

// Section 4.1 of the scheduler's rules: the first expression found anywhere in the URL, else the application's own.
TEST(ApplicationPriorities, FollowTheOrderOfTheOriginal) {
  std::vector<std::string> warnings;
  const ApplicationPriorities priorities(
      {{"ml", 2, {{"a+b", 5}, {"b", 6}, {"(", 1}}}, {"none", std::nullopt, {{"b", 6}}}}, &warnings);
  EXPECT_EQ(priorities.Of("ml", "http://o/xaab"), 5);
  EXPECT_EQ(priorities.Of("ml", "http://o/b"), 6);
  EXPECT_EQ(priorities.Of("ml", "http://o/c"), 2);
  EXPECT_EQ(priorities.Of("none", "http://o/b"), 0);
  EXPECT_EQ(priorities.Of("stranger", "http://o/b"), 0);
  EXPECT_THAT(warnings, ElementsAre(HasSubstr("application \"ml\": \"(\" is no regular expression")));
}

TEST(ClusterConfig, TakesTheManagersJson) {
  ClusterConfig config;
  ASSERT_TRUE(ApplySchedulerClusterConfig(
                  R"({"candidate_parent_limit":7,"filter_parent_limit":40,"job_rate_limit":10})", "config", &config)
                  .ok());
  EXPECT_EQ(config.parents.candidates, 7u);
  EXPECT_EQ(config.parents.sample, 40u);
  ASSERT_TRUE(ApplyClientConfig(R"({"load_limit":50,"block_list":{"task":{}}})", "client", &config).ok());
  EXPECT_EQ(config.upload_limit_normal, 50);
  ASSERT_TRUE(ApplySeedClusterConfig(R"({"load_limit":5000})", "seed", &config).ok());
  EXPECT_EQ(config.upload_limit_seed, 5000);
}

TEST(ClusterConfig, WhatTheManagerDoesNotSayLeavesTheDefaults) {
  ClusterConfig config;
  for (const char* const json : {"", "null", "{}", R"({"candidate_parent_limit":0,"load_limit":0})",
                                 R"({"candidate_parent_limit":-3,"load_limit":-1})"}) {
    EXPECT_TRUE(ApplySchedulerClusterConfig(json, "config", &config).ok()) << json;
    EXPECT_TRUE(ApplyClientConfig(json, "config", &config).ok()) << json;
  }
  EXPECT_EQ(config.parents.candidates, 4u);
  EXPECT_EQ(config.parents.sample, 15u);
  EXPECT_EQ(config.upload_limit_normal, 200);
  // Nothing is sized by a stranger's number.
  EXPECT_TRUE(ApplySchedulerClusterConfig(R"({"candidate_parent_limit":9000000000})", "config", &config).ok());
  EXPECT_EQ(config.parents.candidates, 1000u);
  EXPECT_FALSE(ApplyClientConfig("[1]", "config", &config).ok());
  EXPECT_FALSE(ApplyClientConfig(R"({"load_limit":"many"})", "config", &config).ok());
}

TEST(ClusterConfig, ReadsTheFileOfASchedulerWithoutAManager) {
  const dragonfly::testing::TempDir dir;
  const std::string path = dir.Write("dynconfig.yaml", R"(
scheduler: {addrs: ["10.0.0.1:8002"]}
clientConfig: {blockList: {}}
applications:
  - id: 1
    name: ml
    url: https://ml.example
    bio: models
    priority: {value: 3, urls: [{regex: "^http://a/", value: 1}]}
seedPeerClusterConfig: {loadLimit: 3000}
schedulerClusterConfig: {candidateParentLimit: 3, filterParentLimit: 20, jobRateLimit: 5}
schedulerClusterClientConfig: {loadLimit: 100}
)");
  const auto loaded = LoadClusterConfigFile(path, ClusterConfig());
  ASSERT_TRUE(loaded.ok()) << loaded.status();
  EXPECT_THAT(loaded->warnings, IsEmpty());
  EXPECT_EQ(loaded->config.parents.candidates, 3u);
  EXPECT_EQ(loaded->config.parents.sample, 20u);
  EXPECT_EQ(loaded->config.upload_limit_normal, 100);
  EXPECT_EQ(loaded->config.upload_limit_seed, 3000);
  EXPECT_EQ(loaded->config.priorities->Of("ml", "http://a/x"), 1);
  EXPECT_EQ(loaded->config.priorities->Of("ml", "http://b/x"), 3);
  EXPECT_TRUE(absl::IsNotFound(LoadClusterConfigFile("/nowhere/d.yaml", ClusterConfig()).status()));
}

}  // namespace
}  // namespace dragonfly::scheduler
