// SPDX-License-Identifier: Apache-2.0
#include "db/value.h"

#include "gtest/gtest.h"

namespace dragonfly::db {
namespace {

absl::Time At(int64_t milliseconds) { return absl::FromUnixMillis(milliseconds); }

TEST(TimeText, IsReadBackAsItWasWritten) {
  const absl::Time time = At(1'790'000'000'123);
  EXPECT_EQ(TimeText(time), "2026-09-21 14:13:20.123");
  EXPECT_EQ(ParseTimeText(TimeText(time)), time);
}

TEST(TimeText, IsReadInTheFormsOfAllDatabases) {
  EXPECT_EQ(ParseTimeText("2026-09-21 14:13:20.123000+00"), At(1'790'000'000'123));  // PostgreSQL
  EXPECT_EQ(ParseTimeText("2026-09-21 14:13:20+00:00"), At(1'790'000'000'000));
  EXPECT_EQ(ParseTimeText("2026-09-21 14:13:20"), At(1'790'000'000'000));  // MariaDB
  EXPECT_EQ(ParseTimeText("2026-09-21T14:13:20.123Z"), At(1'790'000'000'123));
  EXPECT_EQ(ParseTimeText(""), std::nullopt);
  EXPECT_EQ(ParseTimeText("yesterday"), std::nullopt);
}

TEST(Row, ReadsNullAsNothing) {
  const Row row({std::nullopt, "7", "t", "x"});
  EXPECT_TRUE(row.IsNull(0));
  EXPECT_EQ(row.Text(0), "");
  EXPECT_EQ(row.Int(0), 0);
  EXPECT_EQ(row.Int(1), 7);
  EXPECT_TRUE(row.Bool(2));
  EXPECT_EQ(row.Int(3), 0);
  EXPECT_EQ(row.Time(0), std::nullopt);
}

}  // namespace
}  // namespace dragonfly::db
