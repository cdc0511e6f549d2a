// SPDX-License-Identifier: Apache-2.0
#include "base/host_port.h"

#include <gtest/gtest.h>

namespace dragonfly {
namespace {

TEST(SplitHostPort, TakesNamesAndLiteralsOnly) {
  EXPECT_EQ(*SplitHostPort("scheduler.example:8002"), std::pair(std::string("scheduler.example"), uint16_t{8002}));
  EXPECT_EQ(*SplitHostPort("10.0.0.1:1"), std::pair(std::string("10.0.0.1"), uint16_t{1}));
  EXPECT_EQ(*SplitHostPort("[2001:db8::1]:65535"), std::pair(std::string("2001:db8::1"), uint16_t{65535}));
  for (const std::string_view bad : {"", "a", ":1", "a:", "a:x", "a:0", "a:65536", "a:+1", "::1:8002", "[::1]",
                                     "[::1:1", "[x]:1", "[1.2.3.4]:1", "a:1 "}) {
    EXPECT_FALSE(SplitHostPort(bad).ok()) << bad;
  }
}

}  // namespace
}  // namespace dragonfly
