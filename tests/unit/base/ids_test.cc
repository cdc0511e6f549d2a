// SPDX-License-Identifier: Apache-2.0
#include "base/ids.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <string>

namespace dragonfly {
namespace {

using testing::HasSubstr;
using testing::MatchesRegex;

constexpr char kSha256Id[] = "27554d06dfc788c2c2c60e01960152ffbd4b145fc103fcb80b432b4dc238a6fe";

TEST(TaskId, TakesTheTwoFormsOfTheWire) {
  const auto sha = TaskId::Parse(kSha256Id);
  ASSERT_TRUE(sha.ok()) << sha.status();
  EXPECT_EQ(sha->str(), kSha256Id);
  EXPECT_TRUE(sha->is_sha256());
  for (const char* text : {"0", "107352521", "4294967295", "9999999999"}) {
    const auto id = TaskId::Parse(text);
    ASSERT_TRUE(id.ok()) << id.status();
    EXPECT_EQ(id->str(), text);
    EXPECT_FALSE(id->is_sha256());
  }
}

TEST(TaskId, RefusesEverythingElse) {
  const std::string kBad[] = {
      "",
      "..",
      "../../etc/passwd",
      "a",
      "10 ",
      "-1",
      "12345678901",
      std::string(64, 'g'),
      std::string(64, '/'),
      std::string(63, 'a'),
      std::string(65, 'a'),
      std::string("27554D06DFC788C2C2C60E01960152FFBD4B145FC103FCB80B432B4DC238A6FE"),
      std::string(63, 'a') + '\0',
      std::string("1\0", 2),
      std::string(1 << 20, '1'),
  };
  for (const std::string& text : kBad) {
    const auto id = TaskId::Parse(text);
    EXPECT_EQ(id.status().code(), absl::StatusCode::kInvalidArgument) << text.substr(0, 80);
    EXPECT_LT(id.status().message().size(), 500u);
  }
}

TEST(TaskId, ErrorShowsNoRawBytes) {
  EXPECT_THAT(std::string(TaskId::Parse("a\n\x1b[31m").status().message()), HasSubstr("a\\n\\x1b[31m"));
}

TEST(CheckNameId, TakesPrintableAsciiUpToTheBound) {
  EXPECT_TRUE(CheckNameId("10.0.0.1-node-1-seed", "host_id").ok());
  EXPECT_TRUE(CheckNameId(std::string(kNameIdLengthMax, 'x'), "host_id").ok());
  for (const std::string& bad : {std::string(), std::string(kNameIdLengthMax + 1, 'x'), std::string("a\nb"),
                                 std::string("a\0b", 3), std::string("caf\xc3\xa9"), std::string("\x7f")}) {
    const absl::Status status = CheckNameId(bad, "host_id");
    EXPECT_EQ(status.code(), absl::StatusCode::kInvalidArgument);
    EXPECT_THAT(std::string(status.message()), HasSubstr("host_id"));
  }
}

TEST(HostId, IsIpAndHostname) {
  EXPECT_EQ(MakeHostId("10.0.0.1", "node-1", false), "10.0.0.1-node-1");
  EXPECT_EQ(MakeHostId("10.0.0.1", "node-1", true), "10.0.0.1-node-1-seed");
}

TEST(PeerId, EndsInAFreshUuid4) {
  const std::string uuid = "[0-9a-f]{8}-[0-9a-f]{4}-4[0-9a-f]{3}-[89ab][0-9a-f]{3}-[0-9a-f]{12}";
  EXPECT_THAT(MakePeerId("10.0.0.1", "node", false), MatchesRegex("10\\.0\\.0\\.1-node-" + uuid));
  EXPECT_THAT(MakePeerId("10.0.0.1", "node", true), MatchesRegex("10\\.0\\.0\\.1-node-" + uuid + "-seed"));
  EXPECT_NE(MakePeerId("10.0.0.1", "node", false), MakePeerId("10.0.0.1", "node", false));
}

}  // namespace
}  // namespace dragonfly
