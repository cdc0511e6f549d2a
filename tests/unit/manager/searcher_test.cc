// SPDX-License-Identifier: Apache-2.0
#include "manager/searcher.h"

#include "gmock/gmock.h"
#include "gtest/gtest.h"

namespace dragonfly::manager {
namespace {

using ::testing::ElementsAre;

double ScoreOf(const std::string& scopes, const PeerPlace& peer, bool is_default = false) {
  const auto parsed = Scopes::Parse(scopes);
  EXPECT_TRUE(parsed.ok()) << parsed.status();
  return parsed.ok() ? (*parsed)->Score(peer, is_default) : -2;
}

PeerPlace At(std::string ip, std::string hostname = "", std::string idc = "", std::string location = "") {
  return {std::move(ip), std::move(hostname), std::move(idc), std::move(location)};
}

TEST(Searcher, ScoresEachTermByItsWeight) {
  struct Case {
    const char* scopes;
    PeerPlace peer;
    double score;
  };
  const Case cases[] = {
      {"{}", At("10.0.0.1", "host", "idc", "loc"), 0},
      {"", At("10.0.0.1"), 0},
      {"null", At("10.0.0.1"), 0},
      {R"({"cidrs":["10.0.0.0/8"]})", At("10.1.2.3"), 0.30},
      {R"({"cidrs":["10.0.0.0/8"]})", At("11.1.2.3"), 0},
      {R"({"cidrs":["nonsense","10.1.2.3/32"]})", At("10.1.2.3"), 0.30},
      {R"({"cidrs":["fd00::/8"]})", At("fd12::1"), 0.30},
      {R"({"cidrs":["fd00::/8"]})", At("10.0.0.1"), 0},
      {R"({"cidrs":["0.0.0.0/0"]})", At("::ffff:10.0.0.1"), 0.30},
      {R"({"cidrs":["10.0.0.0/8"]})", At("no address"), 0},
      {R"({"hostnames":["^gpu-[0-9]+$"]})", At("", "gpu-17"), 0.30},
      {R"({"hostnames":["pu-"]})", At("", "gpu-17"), 0.30},
      {R"({"hostnames":["(","gpu"]})", At("", "gpu-17"), 0.30},
      {R"({"hostnames":[".*"]})", At("", ""), 0},
      {R"({"idc":"EU"})", At("", "", "eu"), 0.25},
      {R"({"idc":"us|EU|cn"})", At("", "", "eu"), 0.25},
      {R"({"idc":"eu"})", At("", "", ""), 0},
      {R"({"location":"a|b|c"})", At("", "", "", "A|B|C"), 0.14},
      {R"({"location":"a|b|c"})", At("", "", "", "a|b|x"), 0.14 * 2 / 5},
      {R"({"location":"a|b|c|d|e|f"})", At("", "", "", "a|b|c|d|e|g"), 0.14},
      {R"({"location":"a|b"})", At("", "", "", "b|a"), 0},
  };
  for (const Case& c : cases) {
    EXPECT_NEAR(ScoreOf(c.scopes, c.peer), c.score, 1e-9) << c.scopes << " " << c.peer.ip << c.peer.hostname;
  }
  EXPECT_NEAR(ScoreOf("{}", At(""), true), 0.01, 1e-9);
}

TEST(Searcher, RefusesScopesThatAreNoObject) {
  EXPECT_FALSE(Scopes::Parse("[]").ok());
  EXPECT_FALSE(Scopes::Parse("{").ok());
}

TEST(Searcher, OrdersByScoreThenByAge) {
  const auto scopes = [](const char* text) { return *Scopes::Parse(text); };
  const std::vector<Candidate> candidates = {{4, nullptr, true},
                                             {3, scopes("{}"), false},
                                             {2, scopes("{}"), false},
                                             {1, scopes("{}"), true},
                                             {5, scopes(R"({"idc":"eu"})"), false}};
  EXPECT_THAT(OrderByScore(candidates, At("10.0.0.1", "h", "eu")), ElementsAre(4, 3, 2, 1, 0));
  EXPECT_THAT(OrderByScore({}, At("10.0.0.1")), ElementsAre());
}

}  // namespace
}  // namespace dragonfly::manager
