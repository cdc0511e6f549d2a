// SPDX-License-Identifier: Apache-2.0
#include "cli/failure_report.h"

#include <gtest/gtest.h>

#include "base/backend_error.h"

namespace dragonfly::cli {
namespace {

const std::string kSeparator(40, '*');

TEST(FailureReport, TellsAValidationError) {
  EXPECT_EQ(ValidationReport("validate failed: no", false),
            "Validating Failed!\n" + kSeparator + "\nMessage: validate failed: no\n" + kSeparator + "\n");
}

TEST(FailureReport, TellsWhatTheOriginAnswered) {
  const absl::Status error =
      MakeBackendErrorStatus({.message = "404 Not Found", .header = {{"server", "nginx"}}, .status_code = 404});
  EXPECT_EQ(CallReport("Downloading", error, false, false),
            "Downloading Failed!\n" + kSeparator +
                "\nBad Status Code: 404\nMessage: 404 Not Found\nHeader:\n  [server]: nginx\n" + kSeparator + "\n");
}

TEST(FailureReport, TellsTheCodeOfACallAndTheTextOfALocalError) {
  EXPECT_EQ(CallReport("Downloading", absl::InternalError("disk"), false, false),
            "Downloading Failed!\n" + kSeparator + "\nBad Code: Internal error\nMessage: disk\n" + kSeparator + "\n");
  EXPECT_EQ(CallReport("Downloading", absl::DataLossError("short"), true, false),
            "Downloading Failed!\n" + kSeparator + "\nMessage: short\n" + kSeparator + "\n");
}

TEST(FailureReport, NamesTheSocketThatNobodyServes) {
  const std::string report = ConnectReport(absl::UnavailableError("connect: refused"), "/run/d.sock", false);
  EXPECT_NE(report.find("Connect Dfdaemon Failed!"), std::string::npos);
  EXPECT_NE(report.find("please check the unix socket /run/d.sock"), std::string::npos);
}

TEST(FailureReport, StylesOnlyWhenAsked) {
  EXPECT_EQ(ValidationReport("x", false).find('\x1b'), std::string::npos);
  EXPECT_EQ(ValidationReport("x", true).find("\x1b[38;5;1m\x1b[3m\x1b[1mValidating Failed!\x1b[m\n"), 0u);
}

TEST(FailureReport, LetsNoNameSteerTheTerminal) {
  const std::string report =
      CallReport("Downloading", absl::InternalError("output path /e\x1b[2Jvil\r: no\nsuch file"), true, false);
  EXPECT_NE(report.find("Message: output path /e?[2Jvil?: no\nsuch file\n"), std::string::npos) << report;
}

}  // namespace
}  // namespace dragonfly::cli
