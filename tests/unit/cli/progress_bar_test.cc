// SPDX-License-Identifier: Apache-2.0
#include "cli/progress_bar.h"

#include <gtest/gtest.h>
#include <unistd.h>

#include <cstdio>

namespace dragonfly::cli {
namespace {

using std::chrono::milliseconds;

TEST(ProgressBar, ShowsPartRateAndTimeLeft) {
  EXPECT_EQ(FormatProgress(50 << 20, 100 << 20, milliseconds(2000)),
            "[00:00:02] [" + std::string(30, '=') + ">" + std::string(29, '-') + "]  50% (25.00 MiB/s, 2.0s)");
  EXPECT_EQ(FormatProgress(100, 100, milliseconds(3'661'000)),
            "[01:01:01] [" + std::string(60, '=') + "] 100% (0 B/s, 0.0s)");
}

TEST(ProgressBar, KnowsNoPartWithoutALength) {
  EXPECT_EQ(FormatProgress(5, 0, milliseconds(1000)).substr(0, 13), "[00:00:01] [>");
}

TEST(ProgressBar, HasPlainLinesForTerminalsThatCannotDraw) {
  EXPECT_EQ(FormatProgressLine(50 << 20, 100 << 20, milliseconds(2000)), " 50% 50.00 MiB of 100.00 MiB (25.00 MiB/s)");
  EXPECT_EQ(FormatProgressLine(5, 0, milliseconds(1000)), "  ?% 5 B (5 B/s)");
  testing::internal::CaptureStderr();
  {
    ProgressBar bar("na\x1b[2Jme", ProgressStyle::kLines);
    bar.SetTotal(10);
    bar.Advance(10);
  }
  const std::string text = testing::internal::GetCapturedStderr();
  EXPECT_EQ(text.find('\x1b'), std::string::npos);
  EXPECT_TRUE(text.starts_with("na?[2Jme\n  0% 0 B of 10 B (0 B/s)\n100% 10 B of 10 B (")) << text;
}

TEST(ProgressBar, LeavesTheLineToWhatIsToldAfterIt) {
  testing::internal::CaptureStderr();
  {
    ProgressBar bar("name", ProgressStyle::kBar);
    bar.SetTotal(10);
    bar.End();
    std::fputs("report", stderr);
    bar.Advance(10);
  }
  EXPECT_TRUE(testing::internal::GetCapturedStderr().ends_with(")\nreport"));
}

TEST(ProgressBar, WritesNothingWhereNobodyLooks) {
  testing::internal::CaptureStderr();
  {
    ProgressBar("name", ProgressStyle::kNone).SetTotal(10);
  }
  EXPECT_EQ(testing::internal::GetCapturedStderr(), "");
  EXPECT_EQ(ProgressStyleOfTerminal() == ProgressStyle::kNone, ::isatty(STDERR_FILENO) != 1);
}

}  // namespace
}  // namespace dragonfly::cli
