// SPDX-License-Identifier: Apache-2.0
#include "rpc/grpc_framing.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <nghttp2/nghttp2.h>

#include <chrono>
#include <string>
#include <string_view>
#include <vector>

namespace dragonfly::rpc {
namespace {

using ::testing::ElementsAre;
using ::testing::HasSubstr;
using ::testing::IsEmpty;

std::string Framed(const std::string& message) { return MessagePrefix(message.size()) + message; }

struct Received {
  MessageReader reader;
  std::vector<std::string> messages;

  absl::Status Take(std::string_view data) {
    return reader.Take(data, [this](std::string_view message) {
      messages.emplace_back(message);
      return absl::OkStatus();
    });
  }
};

TEST(MessagePrefix, IsAFlagAndTheLengthInNetworkOrder) {
  EXPECT_EQ(MessagePrefix(0), std::string("\0\0\0\0\0", 5));
  EXPECT_EQ(MessagePrefix(0x01020304), std::string("\0\1\2\3\4", 5));
}

TEST(MessageReader, CutsMessagesWhereverTheBytesAreCut) {
  const std::string data = Framed("one") + Framed("") + Framed("three");
  for (size_t step = 1; step <= data.size(); ++step) {
    Received received;
    for (size_t at = 0; at < data.size(); at += step) {
      ASSERT_TRUE(received.Take(std::string_view(data).substr(at, step)).ok()) << step;
    }
    EXPECT_THAT(received.messages, ElementsAre("one", "", "three")) << step;
    EXPECT_FALSE(received.reader.within_message()) << step;
  }
}

TEST(MessageReader, KnowsThatAMessageHasBegun) {
  Received received;
  EXPECT_FALSE(received.reader.within_message());
  ASSERT_TRUE(received.Take(std::string("\0\0", 2)).ok());
  EXPECT_TRUE(received.reader.within_message());
  ASSERT_TRUE(received.Take(std::string("\0\0\2a", 4)).ok());
  EXPECT_TRUE(received.reader.within_message());
  EXPECT_THAT(received.messages, IsEmpty());
  ASSERT_TRUE(received.Take("b").ok());
  EXPECT_FALSE(received.reader.within_message());
  EXPECT_THAT(received.messages, ElementsAre("ab"));
}

TEST(MessageReader, RefusesWhatWasNotOffered) {
  Received compressed;
  const absl::Status status = compressed.Take(std::string("\1\0\0\0\1x", 6));
  EXPECT_EQ(status.code(), absl::StatusCode::kInternal);
  EXPECT_THAT(std::string(status.message()), HasSubstr("compressed"));
  // By its announcement, before anything of it is kept.
  Received huge;
  const absl::Status too_long = huge.Take(MessagePrefix(kMessageLengthMax + 1));
  EXPECT_EQ(too_long.code(), absl::StatusCode::kResourceExhausted);
  EXPECT_THAT(std::string(too_long.message()), HasSubstr("134217729 bytes"));
  EXPECT_THAT(huge.messages, IsEmpty());
}

TEST(MessageReader, EndsWithTheErrorOfWhoTakesTheMessages) {
  MessageReader reader;
  int taken = 0;
  const absl::Status status = reader.Take(Framed("one") + Framed("two"), [&taken](std::string_view) {
    ++taken;
    return absl::AbortedError("enough");
  });
  EXPECT_EQ(status, absl::AbortedError("enough"));
  EXPECT_EQ(taken, 1);
}

// PROTOCOL-HTTP2.md: a positive integer of at most eight digits and a unit.
TEST(TimeoutHeader, HasAtMostEightDigits) {
  EXPECT_EQ(TimeoutHeader(std::chrono::milliseconds(1500)), "1500m");
  EXPECT_EQ(TimeoutHeader(std::chrono::microseconds(1)), "1m");
  EXPECT_EQ(TimeoutHeader(std::chrono::seconds(-1)), "1m");
  EXPECT_EQ(TimeoutHeader(std::chrono::milliseconds(99'999'999)), "99999999m");
  EXPECT_EQ(TimeoutHeader(std::chrono::milliseconds(100'000'000)), "100000S");
  EXPECT_EQ(TimeoutHeader(std::chrono::hours(24 * 365 * 100)), "99999999S");
}

TEST(PercentDecode, LeavesWhatIsNoEscape) {
  EXPECT_EQ(PercentDecode("a%20b%C3%a4"), "a b\xc3\xa4");
  EXPECT_EQ(PercentDecode("100% %zz %4"), "100% %zz %4");
  EXPECT_EQ(PercentDecode(""), "");
}

TEST(CodeOfReset, IsThatOfTheTable) {
  EXPECT_EQ(CodeOfReset(NGHTTP2_REFUSED_STREAM), absl::StatusCode::kUnavailable);
  EXPECT_EQ(CodeOfReset(NGHTTP2_CANCEL), absl::StatusCode::kCancelled);
  EXPECT_EQ(CodeOfReset(NGHTTP2_ENHANCE_YOUR_CALM), absl::StatusCode::kResourceExhausted);
  EXPECT_EQ(CodeOfReset(NGHTTP2_INADEQUATE_SECURITY), absl::StatusCode::kPermissionDenied);
  EXPECT_EQ(CodeOfReset(NGHTTP2_INTERNAL_ERROR), absl::StatusCode::kInternal);
}

}  // namespace
}  // namespace dragonfly::rpc
