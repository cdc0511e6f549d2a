// SPDX-License-Identifier: Apache-2.0
#include "http/status_text.h"

#include <gtest/gtest.h>

namespace dragonfly::http {
namespace {

TEST(StatusText, TakesTheRegisteredReasonWhateverTheServerSays) {
  EXPECT_EQ(StatusText(404), "404 Not Found");
  EXPECT_EQ(StatusText(206, "Half"), "206 Partial Content");
  EXPECT_EQ(StatusText(429, ""), "429 Too Many Requests");
  EXPECT_EQ(StatusText(503, "gone fishing"), "503 Service Unavailable");
}

TEST(StatusText, TakesThePrintableReasonOfAnUnknownStatus) {
  EXPECT_EQ(StatusText(777, "Odd"), "777 Odd");
  EXPECT_EQ(StatusText(777, "bell\x07"), "777");
  EXPECT_EQ(StatusText(777), "777");
  EXPECT_EQ(StatusText(0), "0");
}

}  // namespace
}  // namespace dragonfly::http
