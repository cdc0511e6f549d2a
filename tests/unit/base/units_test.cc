// SPDX-License-Identifier: Apache-2.0
#include "base/units.h"

#include <gtest/gtest.h>

#include <limits>

namespace dragonfly {
namespace {

// Source of the formats: crates bytesize 1.3.3 and humantime 2.1, Go's time.ParseDuration.

TEST(ParseByteSize, ReadsBinaryAndDecimalUnits) {
  const struct {
    const char* text;
    uint64_t bytes;
  } kCases[] = {
      {"0", 0},
      {"64", 64},
      {"1048576", 1048576},
      {"64b", 64},
      {"4mib", 4194304},
      {"4MB", 4000000},
      {"4m", 4000000},
      {"4Mi", 4194304},
      {"1k", 1000},
      {"10 KiB", 10240},
      {"10GiB", 10737418240},
      {"10 gib", 10737418240},
      {"1.5g", 1500000000},
      {"1.5GiB", 1610612736},
      {"0.5kib", 512},
      {".5kib", 512},
      {"1.9999b", 1},
      {"1.1GB", 1100000000},
      {"2t", 2000000000000},
      {"2TiB", 2199023255552},
      {"1pb", 1000000000000000},
      {"1PiB", uint64_t{1} << 50},
      {"15eib", uint64_t{15} << 60},
      {"18446744073709551615", std::numeric_limits<uint64_t>::max()},
      {" 7 ", 7},
  };
  for (const auto& test : kCases) {
    const auto bytes = ParseByteSize(test.text);
    ASSERT_TRUE(bytes.ok()) << bytes.status();
    EXPECT_EQ(*bytes, test.bytes) << test.text;
  }
}

TEST(ParseByteSize, RefusesOtherTexts) {
  for (const char* text : {"",      " ",       "b",
                           "mib",   "-1",      "-1kb",
                           "+1",    "1.5",     "1.5.5k",
                           ".",     ".k",      "1x",
                           "1kbb",  "1kib/s",  "1 k b",
                           "0x10",  "1e3",     "18446744073709551616",
                           "16eib", "16.0EiB", "99999999999999999999k",
                           "nan",   "inf"}) {
    EXPECT_EQ(ParseByteSize(text).status().code(), absl::StatusCode::kInvalidArgument) << text;
  }
  EXPECT_FALSE(ParseByteSize(std::string(1 << 20, '1')).ok());
}

TEST(FormatByteSize, PicksTheLargestUnitThatFits) {
  EXPECT_EQ(FormatByteSize(0), "0 B");
  EXPECT_EQ(FormatByteSize(5), "5 B");
  EXPECT_EQ(FormatByteSize(1023), "1023 B");
  EXPECT_EQ(FormatByteSize(1024), "1.00 KiB");
  EXPECT_EQ(FormatByteSize(12939428), "12.34 MiB");
  EXPECT_EQ(FormatByteSize(kMiB - 1), "1.00 MiB");
  EXPECT_EQ(FormatByteSize(64 * kGiB), "64.00 GiB");
  EXPECT_EQ(FormatByteSize(std::numeric_limits<uint64_t>::max()), "16.00 EiB");
}

TEST(ParseDuration, ReadsTheRustFormat) {
  const struct {
    const char* text;
    absl::Duration duration;
  } kCases[] = {
      {"0", absl::ZeroDuration()},
      {"0s", absl::ZeroDuration()},
      {"5ns", absl::Nanoseconds(5)},
      {"5nanos", absl::Nanoseconds(5)},
      {"5nsec", absl::Nanoseconds(5)},
      {"5us", absl::Microseconds(5)},
      {"5usec", absl::Microseconds(5)},
      {"5ms", absl::Milliseconds(5)},
      {"5msec", absl::Milliseconds(5)},
      {"5millis", absl::Milliseconds(5)},
      {"90s", absl::Seconds(90)},
      {"90sec", absl::Seconds(90)},
      {"1second", absl::Seconds(1)},
      {"2 seconds", absl::Seconds(2)},
      {"2m", absl::Minutes(2)},
      {"2min", absl::Minutes(2)},
      {"2minutes", absl::Minutes(2)},
      {"3h", absl::Hours(3)},
      {"3hrs", absl::Hours(3)},
      {"3hours", absl::Hours(3)},
      {"2h37min", absl::Hours(2) + absl::Minutes(37)},
      {"1h 30m", absl::Minutes(90)},
      {" 1h  30m ", absl::Minutes(90)},
      {"1h 1h", absl::Hours(2)},
      {"7d", absl::Hours(7 * 24)},
      {"2weeks", absl::Hours(14 * 24)},
      {"1M", absl::Seconds(2630016)},
      {"1month", absl::Seconds(2630016)},
      {"1y", absl::Seconds(31557600)},
      {"1year 2months 3days", absl::Seconds(31557600 + 2 * 2630016 + 3 * 86400)},
  };
  for (const auto& test : kCases) {
    const auto duration = ParseDuration(test.text);
    ASSERT_TRUE(duration.ok()) << duration.status();
    EXPECT_EQ(*duration, test.duration) << test.text;
  }
}

TEST(ParseDuration, RefusesOtherTexts) {
  for (const char* text : {"", " ", "5", "5 6s", "s", "1.5h", "-5s", "+5s", "5S", "5H", "5x", "5 s 3", "1h30",
                           "99999999999999999999s", "300y", "200y 200y", "5\xc2\xb5s"}) {
    EXPECT_EQ(ParseDuration(text).status().code(), absl::StatusCode::kInvalidArgument) << text;
  }
  EXPECT_FALSE(ParseDuration(std::string(1 << 20, '1')).ok());
}

TEST(ParseGoDuration, ReadsTheGoFormat) {
  const struct {
    const char* text;
    absl::Duration duration;
  } kCases[] = {
      {"0", absl::ZeroDuration()},
      {"1000000000", absl::Seconds(1)},
      {"-5", absl::Nanoseconds(-5)},
      {"400ms", absl::Milliseconds(400)},
      {"1m30s", absl::Seconds(90)},
      {"720h", absl::Hours(720)},
      {"1h30m", absl::Minutes(90)},
      {"1.5s", absl::Milliseconds(1500)},
      {".5s", absl::Milliseconds(500)},
      {"5.s", absl::Seconds(5)},
      {"0.3333333333333333333h", absl::Nanoseconds(1199999999999)},
      {"5us", absl::Microseconds(5)},
      {"5\xc2\xb5s", absl::Microseconds(5)},
      {"5\xce\xbcs", absl::Microseconds(5)},
      {"52763797000ns", absl::Nanoseconds(52763797000)},
      {"-1.5h", -absl::Minutes(90)},
      {"+5s", absl::Seconds(5)},
      {"9223372036854775807ns", absl::Nanoseconds(std::numeric_limits<int64_t>::max())},
  };
  for (const auto& test : kCases) {
    const auto duration = ParseGoDuration(test.text);
    ASSERT_TRUE(duration.ok()) << duration.status();
    EXPECT_EQ(*duration, test.duration) << test.text;
  }
}

TEST(ParseGoDuration, RefusesOtherTexts) {
  for (const char* text : {"", "-", "+", ".", "s", ".s", "3d", "1h 30m", " 5s", "5s ", "5 s", "1.5", "5S", "1h30",
                           "9223372036854775808ns", "9223372036854775808", "3000000h", "1h3000000h"}) {
    EXPECT_EQ(ParseGoDuration(text).status().code(), absl::StatusCode::kInvalidArgument) << text;
  }
}

TEST(DurationText, IsWhatParseDurationReads) {
  EXPECT_EQ(DurationText(absl::ZeroDuration()), "0s");
  EXPECT_EQ(DurationText(absl::Hours(2)), "2h");
  EXPECT_EQ(DurationText(absl::Minutes(90)), "1h 30m");
  EXPECT_EQ(DurationText(absl::Milliseconds(500)), "500ms");
  EXPECT_EQ(DurationText(absl::Hours(7 * 24)), "7d");
  EXPECT_EQ(DurationText(-absl::Seconds(5)), "-5s");
  for (const absl::Duration duration :
       {absl::Nanoseconds(1), absl::Microseconds(1500), absl::Seconds(86399), absl::Hours(100000)}) {
    EXPECT_EQ(*ParseDuration(DurationText(duration)), duration);
  }
}

}  // namespace
}  // namespace dragonfly
