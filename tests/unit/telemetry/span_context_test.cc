// SPDX-License-Identifier: Apache-2.0
#include "telemetry/span_context.h"

#include <gtest/gtest.h>

#include <string>

namespace dragonfly::telemetry {
namespace {

// The example of the standard, §3.2.
constexpr char kExample[] = "00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01";

TEST(SpanContext, ReadsAndWritesTheExampleOfTheStandard) {
  const auto context = ParseTraceparent(kExample, "congo=t61rcWkgMzE");
  ASSERT_TRUE(context.has_value());
  EXPECT_TRUE(context->valid());
  EXPECT_TRUE(context->sampled);
  EXPECT_EQ(context->trace_id[0], 0x4b);
  EXPECT_EQ(context->span_id[7], 0xb7);
  EXPECT_EQ(context->state, "congo=t61rcWkgMzE");
  EXPECT_EQ(context->ToTraceparent(), kExample);
}

TEST(SpanContext, TakesFlagsAndLaterVersions) {
  const std::string ids = "-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-";
  EXPECT_FALSE(ParseTraceparent("00" + ids + "00", "")->sampled);
  EXPECT_TRUE(ParseTraceparent("00" + ids + "03", "")->sampled);
  EXPECT_EQ(ParseTraceparent("00" + ids + "02", "")->ToTraceparent(), "00" + ids + "00");
  EXPECT_TRUE(ParseTraceparent("01" + ids + "01", "").has_value());
  EXPECT_TRUE(ParseTraceparent("cc" + ids + "01-what-the-future-will-be-like", "").has_value());
}

TEST(SpanContext, RefusesWhatTheStandardCallsInvalid) {
  const std::string ids = "-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-";
  for (const std::string& text : {
           std::string(),
           std::string("00"),
           "ff" + ids + "01",                                                       // forbidden version
           "0x" + ids + "01",                                                       // no hex
           "00" + ids + "1",                                                        // too short
           "00" + ids + "01-more",                                                  // version 00 says no more
           "cc" + ids + "01.more",                                                  // no dash
           std::string("00-00000000000000000000000000000000-00f067aa0ba902b7-01"),  // no trace
           std::string("00-4bf92f3577b34da6a3ce929d0e0e4736-0000000000000000-01"),  // no span
           std::string("00-4BF92F3577B34DA6A3CE929D0E0E4736-00f067aa0ba902b7-01"),  // upper case
           std::string("00_4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01"),
           std::string("00-4bf92f3577b34da6a3ce929d0e0e473-000f067aa0ba902b7-01"),
       }) {
    EXPECT_FALSE(ParseTraceparent(text, "").has_value()) << text;
  }
}

TEST(SpanContext, DropsABadTracestateAlone) {
  EXPECT_EQ(ParseTraceparent(kExample, std::string(513, 'a'))->state, "");
  EXPECT_EQ(ParseTraceparent(kExample, "a=b\r\nx: y")->state, "");
  EXPECT_EQ(ParseTraceparent(kExample, std::string(512, 'a'))->state.size(), 512u);
}

TEST(SpanContext, NoneIsInvalid) { EXPECT_FALSE(SpanContext().valid()); }

}  // namespace
}  // namespace dragonfly::telemetry
