// SPDX-License-Identifier: Apache-2.0
#include "base/json_bounds.h"

#include <gtest/gtest.h>

#include <string>

namespace dragonfly {
namespace {

std::string Repeated(const std::string& text, size_t count) {
  std::string all;
  all.reserve(text.size() * count);
  for (size_t i = 0; i < count; ++i) all += text;
  return all;
}

TEST(JsonBounds, TakeWhatListingsAre) {
  EXPECT_TRUE(IsBoundedJson(""));
  EXPECT_TRUE(IsBoundedJson("no JSON at all ]]}}"));
  EXPECT_TRUE(IsBoundedJson(R"([{"path": "a", "lfs": {"size": 1}}, {"path": "b"}])"));
  EXPECT_TRUE(IsBoundedJson("[" + Repeated(R"({"a":1,"b":2,"c":3,"d":4,"e":5,"f":6,"g":7,"h":8},)", 100'000) + "0]"));
}

TEST(JsonBounds, RefuseDepth) {
  EXPECT_TRUE(IsBoundedJson(Repeated("[", kJsonDepthMax)));
  EXPECT_FALSE(IsBoundedJson(Repeated("[", kJsonDepthMax + 1)));
  EXPECT_FALSE(IsBoundedJson(Repeated(R"({"a":)", kJsonDepthMax + 1)));
  // One after the other is not deep.
  EXPECT_TRUE(IsBoundedJson(Repeated("[]", 1000)));
}

TEST(JsonBounds, RefuseAFloodOfValues) {
  EXPECT_FALSE(IsBoundedJson("[" + Repeated("0,", kJsonValuesMax) + "0]"));
  EXPECT_FALSE(IsBoundedJson("[" + Repeated("{}", kJsonValuesMax) + "]"));
}

TEST(JsonBounds, DoNotCountWhatStandsInStrings) {
  EXPECT_TRUE(IsBoundedJson("[\"" + Repeated("[{,", kJsonValuesMax) + "\"]"));
  EXPECT_TRUE(IsBoundedJson(R"(["\"[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[["])"));
  EXPECT_FALSE(IsBoundedJson(R"(["\\")" + Repeated("[", kJsonDepthMax)));
}

}  // namespace
}  // namespace dragonfly
