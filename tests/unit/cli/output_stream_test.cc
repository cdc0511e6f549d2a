// SPDX-License-Identifier: Apache-2.0
#include "cli/output_stream.h"

#include <fcntl.h>
#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <unistd.h>

#include <array>
#include <string>

namespace dragonfly::cli {
namespace {

using testing::HasSubstr;

class OutputStreamTest : public testing::Test {
 protected:
  OutputStreamTest() {
    std::array<int, 2> ends{};
    EXPECT_EQ(::pipe2(ends.data(), O_CLOEXEC | O_NONBLOCK), 0);
    read_ = UniqueFd(ends[0]);
    write_ = UniqueFd(ends[1]);
  }
  // What has come out since the last call.
  std::string Out() {
    std::string text(4096, '\0');
    const ssize_t n = ::read(read_.get(), text.data(), text.size());
    text.resize(n > 0 ? static_cast<size_t>(n) : 0);
    return text;
  }

  UniqueFd read_;
  UniqueFd write_;
};

TEST_F(OutputStreamTest, WritesEachPieceWhenItIsItsTurn) {
  OutputStream stream(write_.get(), DigestAlgorithm::kCrc32);
  ASSERT_TRUE(stream.SetWindow({.offset = 0, .length = 10}).ok());
  ASSERT_TRUE(stream.Write(6, "6789").ok());
  ASSERT_TRUE(stream.Write(3, "345").ok());
  EXPECT_EQ(Out(), "");
  EXPECT_TRUE(absl::IsDataLoss(stream.Finish(std::nullopt)));
  ASSERT_TRUE(stream.Write(0, "012").ok());
  EXPECT_EQ(Out(), "0123456789");
  EXPECT_TRUE(stream.Finish(Digest::OfCrc32(Crc32("0123456789"))).ok());
}

TEST_F(OutputStreamTest, WritesOnlyTheWindowAndNothingTwice) {
  OutputStream stream(write_.get(), std::nullopt);
  ASSERT_TRUE(stream.SetWindow({.offset = 2, .length = 5}).ok());
  ASSERT_TRUE(stream.Write(4, "4567").ok());
  ASSERT_TRUE(stream.Write(0, "0123").ok());
  ASSERT_TRUE(stream.Write(0, "0123").ok());
  ASSERT_TRUE(stream.Write(4, "4567").ok());
  EXPECT_EQ(Out(), "23456");
  EXPECT_TRUE(stream.Finish(std::nullopt).ok());
}

TEST_F(OutputStreamTest, TellsMissingBytesAndAWrongDigest) {
  OutputStream stream(write_.get(), DigestAlgorithm::kCrc32);
  ASSERT_TRUE(stream.SetWindow({.offset = 0, .length = 4}).ok());
  ASSERT_TRUE(stream.Write(0, "01").ok());
  EXPECT_THAT(stream.Finish(std::nullopt).message(), HasSubstr("unknown download incomplete: 2 of 4 bytes came"));
  ASSERT_TRUE(stream.Write(2, "23").ok());
  EXPECT_THAT(stream.Finish(Digest::OfCrc32(1)).message(), HasSubstr("digest mismatch expected: crc32:"));
}

}  // namespace
}  // namespace dragonfly::cli
