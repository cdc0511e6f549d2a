// SPDX-License-Identifier: Apache-2.0
#include "telemetry/log.h"

#include <gmock/gmock.h>

#include <algorithm>
#include <regex>
#include <thread>
#include <vector>

#include "tests/unit/telemetry/temp_dir.h"

namespace dragonfly::log {
namespace {

Options FileOptions(const TempDir& dir, Level level = Level::kInfo) {
  Options options;
  options.dir = dir.path();
  options.name = "test";
  options.level = level;
  return options;
}

TEST(Log, ReadsLevelsAsNamesAndNumbers) {
  EXPECT_EQ(*ParseLevel("info"), Level::kInfo);
  EXPECT_EQ(*ParseLevel("WARN"), Level::kWarn);
  EXPECT_EQ(*ParseLevel("Trace"), Level::kTrace);
  EXPECT_EQ(*ParseLevel("5"), Level::kTrace);
  EXPECT_EQ(*ParseLevel("1"), Level::kError);
  for (const char* text : {"", "0", "6", "off", "information"})
    EXPECT_EQ(ParseLevel(text).status().code(), absl::StatusCode::kInvalidArgument) << text;
}

TEST(Log, BeforeSetupOnlyWarningsAndErrorsAreEnabledAndGoToStandardError) {
  testing::internal::CaptureStderr();
  DF_LOG(Info, "quiet");
  DF_LOG(Warn, "loud {}", 1);
  const std::string output = testing::internal::GetCapturedStderr();
  EXPECT_THAT(output, testing::HasSubstr("loud 1"));
  EXPECT_THAT(output, testing::Not(testing::HasSubstr("quiet")));
}

TEST(Log, WritesTimeLevelPlaceAndMessage) {
  const TempDir dir;
  ASSERT_TRUE(log::Setup(FileOptions(dir)).ok());
  DF_LOG(Info, "task {}: {} pieces", "a46d", 7);
  // Without Flush(): a process that is killed must not have lost it.
  EXPECT_TRUE(std::regex_match(
      dir.Read("test.log"),
      std::regex(R"(\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\.\d{6}[+-]\d\d:\d\d INFO log_test\.cc:\d+: task a46d: 7 pieces\n)")))
      << dir.Read("test.log");
}

TEST(Log, EvaluatesNothingBelowTheLevel) {
  const TempDir dir;
  ASSERT_TRUE(log::Setup(FileOptions(dir, Level::kWarn)).ok());
  int evaluated = 0;
  DF_LOG(Debug, "{}", ++evaluated);
  DF_LOG(Error, "{}", ++evaluated);
  EXPECT_EQ(evaluated, 1);
  EXPECT_FALSE(Enabled(Level::kInfo));
  EXPECT_TRUE(Enabled(Level::kWarn));
}

// Text of a stranger must not forge lines.
TEST(Log, AMessageIsOneLine) {
  const TempDir dir;
  ASSERT_TRUE(log::Setup(FileOptions(dir)).ok());
  DF_LOG(Info, "url {}", "http://x/\n2026-01-02T03:04:05 ERROR forged\r\n");
  const std::string text = dir.Read("test.log");
  EXPECT_EQ(std::count(text.begin(), text.end(), '\n'), 1);
  EXPECT_THAT(text, testing::HasSubstr("http://x/\\n2026"));
}

TEST(Log, ConsoleIsStandardOutput) {
  testing::internal::CaptureStdout();
  Options options;
  options.console = true;
  ASSERT_TRUE(log::Setup(options).ok());
  DF_LOG(Info, "to the console");
  Flush();
  EXPECT_THAT(testing::internal::GetCapturedStdout(), testing::HasSubstr("to the console"));
}

TEST(Log, LosesNoLineOfManyThreadsAlsoDuringSetup) {
  const TempDir first;
  const TempDir second;
  ASSERT_TRUE(log::Setup(FileOptions(first)).ok());
  constexpr int kThreads = 4;
  constexpr int kLines = 500;
  std::vector<std::thread> threads;
  for (int t = 0; t < kThreads; ++t)
    threads.emplace_back([] {
      for (int i = 0; i < kLines; ++i) DF_LOG(Info, "line");
    });
  ASSERT_TRUE(log::Setup(FileOptions(second)).ok());
  for (std::thread& thread : threads) thread.join();
  const std::string text = first.Read("test.log") + second.Read("test.log");
  EXPECT_EQ(std::count(text.begin(), text.end(), '\n'), kThreads * kLines);
}

TEST(Log, SetupFailsWhereItCannotWrite) {
  const TempDir dir;
  std::ofstream(dir.path() + "/file") << "";
  Options options;
  options.dir = dir.path() + "/file";
  EXPECT_FALSE(log::Setup(options).ok());
}

TEST(Log, UnderstandsFiltersOfTheOriginals) {
  EXPECT_EQ(ParseFilter("debug"), Level::kDebug);
  EXPECT_EQ(ParseFilter("DEBUG,hyper=off"), Level::kDebug);
  EXPECT_EQ(ParseFilter("warn, dragonfly_client=trace"), Level::kTrace);
  EXPECT_EQ(ParseFilter("dragonfly_client::resource=debug,dragonfly_client=info"), Level::kDebug);
  EXPECT_EQ(ParseFilter("dragonfly_client"), Level::kTrace);
  EXPECT_EQ(ParseFilter("off"), Level::kOff);
  EXPECT_EQ(ParseFilter("info,dragonfly_client[download_task]=trace"), Level::kInfo);
  EXPECT_EQ(ParseFilter("hyper=info"), Level::kError);
  EXPECT_EQ(ParseFilter(""), std::nullopt);
  EXPECT_EQ(ParseFilter("loud,,="), std::nullopt);
}

}  // namespace
}  // namespace dragonfly::log
