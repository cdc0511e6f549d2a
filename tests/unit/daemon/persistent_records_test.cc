// SPDX-License-Identifier: Apache-2.0
#include "daemon/persistent_records.h"

#include <gtest/gtest.h>

#include <filesystem>

#include "tests/support/temp_dir.h"

namespace dragonfly::daemon {
namespace {

TaskId Id(const std::string& text) { return *TaskId::Parse(text); }

std::unique_ptr<PersistentRecords> Open(const std::string& dir) {
  auto records = PersistentRecords::Open(dir);
  EXPECT_TRUE(records.ok()) << records.status();
  return *std::move(records);
}

TEST(PersistentRecords, AreThereAfterARestart) {
  const dragonfly::testing::TempDir temp;
  const std::string dir = (temp.path() / "deep" / "records").string();
  PersistentRecord record(Id("123"));
  record.peer_id = "peer \"x\"";
  record.persistent = true;
  record.ttl = absl::Hours(26);
  record.created_at = absl::FromUnixNanos(1'700'000'000'123'456'789);
  record.tag = "t";
  record.application = std::string("a\0b", 3);
  record.importing = true;
  ASSERT_TRUE(Open(dir)->Put(record).ok());
  const auto records = Open(dir);
  ASSERT_EQ(records->List().size(), 1u);
  const auto found = records->Find(Id("123"));
  ASSERT_TRUE(found.has_value());
  EXPECT_EQ(found->peer_id, record.peer_id);
  EXPECT_TRUE(found->persistent && found->importing);
  EXPECT_EQ(found->ttl, record.ttl);
  EXPECT_EQ(found->created_at, record.created_at);
  EXPECT_EQ(found->expires_at(), record.created_at + absl::Hours(26));
  EXPECT_EQ(found->tag, record.tag);
  EXPECT_EQ(found->application, record.application);
}

TEST(PersistentRecords, ALaterOneReplacesTheFormer) {
  const dragonfly::testing::TempDir temp;
  const std::string dir = temp.path().string();
  const auto records = Open(dir);
  PersistentRecord record(Id("123"));
  ASSERT_TRUE(records->Put(record).ok());
  record.persistent = true;
  ASSERT_TRUE(records->Put(record).ok());
  EXPECT_TRUE(records->Find(Id("123"))->persistent);
  EXPECT_TRUE(Open(dir)->Find(Id("123"))->persistent);
}

TEST(PersistentRecords, ARemovedOneIsGone) {
  const dragonfly::testing::TempDir temp;
  const auto records = Open(temp.path().string());
  ASSERT_TRUE(records->Put(PersistentRecord(Id("123"))).ok());
  ASSERT_TRUE(records->Remove(Id("123")).ok());
  EXPECT_TRUE(records->Remove(Id("123")).ok());
  EXPECT_FALSE(records->Find(Id("123")).has_value());
  EXPECT_TRUE(Open(temp.path().string())->List().empty());
  EXPECT_TRUE(std::filesystem::is_empty(temp.path()));
}

TEST(PersistentRecords, RemovesWhatIsNoRecord) {
  const dragonfly::testing::TempDir temp;
  temp.Write("123", "{\"peer_id\"");
  temp.Write("124.new", "{}");
  temp.Write("125", std::string(100'000, ' ') + "{}");
  temp.Write("126", "{\"persistent\": \"yes\", \"ttl_seconds\": -1, \"other\": []}");
  const auto records = Open(temp.path().string());
  ASSERT_EQ(records->List().size(), 1u);
  const auto odd = records->Find(Id("126"));
  ASSERT_TRUE(odd.has_value());
  EXPECT_FALSE(odd->persistent);
  EXPECT_FALSE(std::filesystem::exists(temp.path() / "123"));
  EXPECT_FALSE(std::filesystem::exists(temp.path() / "124.new"));
  EXPECT_FALSE(std::filesystem::exists(temp.path() / "125"));
}

}  // namespace
}  // namespace dragonfly::daemon
