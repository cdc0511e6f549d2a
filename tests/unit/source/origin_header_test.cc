// SPDX-License-Identifier: Apache-2.0
#include "source/origin_header.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <string>

namespace dragonfly::source {
namespace {

using ::testing::ElementsAre;
using ::testing::Pair;

TEST(OriginHeader, ForwardsTheCallersWithoutRange) {
  const absl::StatusOr<HeaderFields> header = MakeOriginHeader({{"Authorization", "Bearer t"},
                                                                {"RANGE", "bytes=5-"},
                                                                {"If-Range", "\"a\""},
                                                                {"Host", "registry.example"},
                                                                {"connection", "close"},
                                                                {"Transfer-Encoding", "chunked"},
                                                                {"Content-Length", "5"}},
                                                               {}, "agent");
  ASSERT_TRUE(header.ok()) << header.status();
  EXPECT_THAT(*header, ElementsAre(Pair("Authorization", "Bearer t"), Pair("Host", "registry.example"),
                                   Pair("User-Agent", "agent")));
}

TEST(OriginHeader, AddsDefaultsOnlyWhereTheCallerSaysNothing) {
  const absl::StatusOr<HeaderFields> header =
      MakeOriginHeader({{"x-team", "mine"}, {"user-agent", "own"}}, {{"X-Team", "default"}, {"X-Site", "s"}}, "agent");
  ASSERT_TRUE(header.ok()) << header.status();
  EXPECT_THAT(*header, ElementsAre(Pair("x-team", "mine"), Pair("user-agent", "own"), Pair("X-Site", "s")));
}

TEST(OriginHeader, RefusesInjection) {
  for (const HeaderFields& caller :
       {HeaderFields{{"X", "a\r\nHost: evil"}}, HeaderFields{{"X", "a\nb"}}, HeaderFields{{"X", "a\rb"}},
        HeaderFields{{"X", std::string("a\0b", 3)}}, HeaderFields{{"X\r\nY", "a"}}, HeaderFields{{"X Y", "a"}},
        HeaderFields{{"", "a"}}, HeaderFields{{std::string("X\0", 2), "a"}}, HeaderFields{{"Range", "a\r\nb: c"}}}) {
    EXPECT_TRUE(absl::IsInvalidArgument(MakeOriginHeader(caller, {}, "agent").status()));
  }
}

TEST(OriginHeader, DropsCredentials) {
  HeaderFields header = {
      {"authorization", "a"}, {"Cookie", "b"},           {"COOKIE2", "c"}, {"Proxy-Authorization", "d"},
      {"Host", "h"},          {"WWW-Authenticate", "e"}, {"Accept", "f"}};
  DropCredentials(header);
  EXPECT_THAT(header, ElementsAre(Pair("Accept", "f")));
}

}  // namespace
}  // namespace dragonfly::source
