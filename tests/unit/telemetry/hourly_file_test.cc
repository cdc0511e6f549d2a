// SPDX-License-Identifier: Apache-2.0
#include "telemetry/hourly_file.h"

#include <gmock/gmock.h>
#include <sys/stat.h>
#include <sys/time.h>

#include <ctime>

#include "tests/unit/telemetry/temp_dir.h"

namespace dragonfly::log {
namespace {

using testing::ElementsAre;

// 2026-01-02, local time.
HourlyFile::Time At(int hour, int minute = 0) {
  std::tm local{};
  local.tm_year = 126;
  local.tm_mday = 2;
  local.tm_hour = hour;
  local.tm_min = minute;
  local.tm_isdst = -1;
  return std::chrono::system_clock::from_time_t(std::mktime(&local));
}

TEST(HourlyFile, SetsTheFileOfAnEarlierHourAside) {
  const TempDir dir;
  auto file = HourlyFile::Open(dir.path(), "dfdaemon", 6, At(3, 10));
  ASSERT_TRUE(file.ok()) << file.status();
  ASSERT_TRUE(file->Write("one\n", At(3, 20)).ok());
  ASSERT_TRUE(file->Write("two\n", At(3, 59)).ok());
  ASSERT_TRUE(file->Write("three\n", At(4, 0)).ok());
  EXPECT_THAT(dir.Files(), ElementsAre("dfdaemon-2026-01-02-03.log", "dfdaemon.log"));
  EXPECT_EQ(dir.Read("dfdaemon-2026-01-02-03.log"), "one\ntwo\n");
  EXPECT_EQ(dir.Read("dfdaemon.log"), "three\n");
}

TEST(HourlyFile, KeepsAsManyFilesAsAskedAlsoAfterAGap) {
  const TempDir dir;
  auto file = HourlyFile::Open(dir.path(), "dfdaemon", 3, At(0));
  ASSERT_TRUE(file.ok()) << file.status();
  std::ofstream(dir.path() + "/dfdaemon-notes.log") << "of somebody else";
  for (const int hour : {0, 1, 2, 9, 10, 20}) ASSERT_TRUE(file->Write("line\n", At(hour)).ok());
  EXPECT_THAT(dir.Files(), ElementsAre("dfdaemon-2026-01-02-09.log", "dfdaemon-2026-01-02-10.log", "dfdaemon-notes.log",
                                       "dfdaemon.log"));
}

TEST(HourlyFile, ContinuesTheFileOfThisHourAndSetsAnOlderOneAside) {
  const TempDir dir;
  const auto now = std::chrono::system_clock::now();
  {
    auto file = HourlyFile::Open(dir.path(), "x", 6, now);
    ASSERT_TRUE(file.ok() && file->Write("before\n", now).ok());
  }
  {
    auto file = HourlyFile::Open(dir.path(), "x", 6, now);
    ASSERT_TRUE(file.ok() && file->Write("after\n", now).ok());
  }
  EXPECT_EQ(dir.Read("x.log"), "before\nafter\n");

  const std::time_t old = std::chrono::system_clock::to_time_t(At(5));
  const timeval times[2] = {{old, 0}, {old, 0}};
  ASSERT_EQ(::utimes((dir.path() + "/x.log").c_str(), times), 0);
  auto file = HourlyFile::Open(dir.path(), "x", 6, At(7));
  ASSERT_TRUE(file.ok() && file->Write("new\n", At(7)).ok());
  EXPECT_EQ(dir.Read("x-2026-01-02-05.log"), "before\nafter\n");
  EXPECT_EQ(dir.Read("x.log"), "new\n");
}

TEST(HourlyFile, BeginsAnotherWhenItIsFull) {
  const TempDir dir;
  auto file = HourlyFile::Open(dir.path(), "x", 4, At(3), 8);
  ASSERT_TRUE(file.ok()) << file.status();
  for (const char* line : {"1234\n", "56\n", "a line that is longer than a file\n", "7\n", "8\n"})
    ASSERT_TRUE(file->Write(line, At(3, 30)).ok());
  EXPECT_THAT(dir.Files(), ElementsAre("x-2026-01-02-03-000001.log", "x-2026-01-02-03-000002.log", "x.log"));
  EXPECT_EQ(dir.Read("x-2026-01-02-03-000001.log"), "1234\n56\n");
  EXPECT_EQ(dir.Read("x.log"), "7\n8\n");

  // The last of the hour is the latest, and the oldest goes first.
  ASSERT_TRUE(file->Write("9\n", At(4)).ok());
  ASSERT_TRUE(file->Write("12345678\n", At(4)).ok());
  EXPECT_THAT(dir.Files(),
              ElementsAre("x-2026-01-02-03-000002.log", "x-2026-01-02-03.log", "x-2026-01-02-04-000001.log", "x.log"));
}

TEST(HourlyFile, CountsWhatAnEarlierRunHasWritten) {
  const TempDir dir;
  const auto now = std::chrono::system_clock::now();
  for (int run = 0; run < 3; ++run) {
    auto file = HourlyFile::Open(dir.path(), "x", 9, now, 8);
    ASSERT_TRUE(file.ok() && file->Write("1234\n", now).ok());
  }
  EXPECT_EQ(dir.Files().size(), 3u);
}

// When clocks are set back, an hour comes twice.
TEST(HourlyFile, NeverOverwritesWhatWasSetAside) {
  const TempDir dir;
  std::ofstream(dir.path() + "/x-2026-01-02-03.log") << "first half\n";
  auto file = HourlyFile::Open(dir.path(), "x", 6, At(3));
  ASSERT_TRUE(file.ok() && file->Write("second half\n", At(3)).ok());
  ASSERT_TRUE(file->Write("next\n", At(4)).ok());
  EXPECT_EQ(dir.Read("x-2026-01-02-03.log"), "first half\n");
  EXPECT_EQ(dir.Read("x.log"), "second half\nnext\n");
}

TEST(HourlyFile, ErrorNamesTheDirectory) {
  const TempDir dir;
  std::ofstream(dir.path() + "/file") << "";
  const auto file = HourlyFile::Open(dir.path() + "/file/logs", "x", 6, At(3));
  ASSERT_FALSE(file.ok());
  EXPECT_THAT(std::string(file.status().message()), testing::HasSubstr(dir.path()));
}

}  // namespace
}  // namespace dragonfly::log
