// SPDX-License-Identifier: Apache-2.0
#include "cli/progress_bar.h"

#include <gtest/gtest.h>

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

}  // namespace
}  // namespace dragonfly::cli
