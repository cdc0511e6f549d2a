// SPDX-License-Identifier: Apache-2.0
#include "base/backend_error.h"

#include <gtest/gtest.h>

#include <string>

#include "base/status.h"

namespace dragonfly {
namespace {

TEST(BackendError, IsTheJsonOfTheWire) {
  BackendError error{.message = "404 Not Found", .header = {{"server", "nginx"}}, .status_code = 404};
  EXPECT_EQ(error.ToJson(), R"({"message":"404 Not Found","header":{"server":"nginx"},"status_code":404})");
  EXPECT_EQ(BackendError().ToJson(), R"({"message":"","header":{},"status_code":null})");
}

TEST(BackendError, ReadsWhatPeersWrite) {
  const auto error =
      BackendError::FromJson(R"({"status_code":503,"header":{"retry-after":"5"},"message":"busy","x":[]})");
  ASSERT_TRUE(error.has_value());
  EXPECT_EQ(error->message, "busy");
  EXPECT_EQ(error->header.at("retry-after"), "5");
  EXPECT_EQ(error->status_code, 503);
  EXPECT_EQ(BackendError::FromJson("{}")->status_code, std::nullopt);
}

TEST(BackendError, RefusesOtherTexts) {
  for (const std::string& text :
       {std::string(), std::string("null"), std::string("[]"), std::string("{"), std::string(R"({"message":1})"),
        std::string(R"({"header":[]})"), std::string(R"({"header":{"a":1}})"), std::string(R"({"status_code":"1"})"),
        std::string(R"({"status_code":1.5})"), std::string(R"({"status_code":18446744073709551615})"),
        std::string(R"({"status_code":2147483648})"), std::string(100'000, '['),
        "\"" + std::string(1 << 21, 'x') + "\""}) {
    EXPECT_FALSE(BackendError::FromJson(text).has_value()) << text.substr(0, 80);
  }
}

TEST(BackendError, SurvivesHeadersThatAreNoUtf8) {
  BackendError error{.message = "\xff", .header = {{"x", "\xc3"}}, .status_code = {}};
  const auto read = BackendError::FromJson(error.ToJson());
  ASSERT_TRUE(read.has_value());
  EXPECT_EQ(read->header.at("x"), "\xef\xbf\xbd");
}

TEST(BackendErrorStatus, CarriesTheErrorThroughAnnotate) {
  const BackendError error{.message = "403 Forbidden", .header = {{"a", "b"}}, .status_code = 403};
  const absl::Status status = Annotate(MakeBackendErrorStatus(error), "download task 1");
  EXPECT_EQ(status.code(), absl::StatusCode::kInternal);
  EXPECT_EQ(status.message(), "download task 1: backend error 403 Forbidden");
  const auto attached = GetBackendError(status);
  ASSERT_TRUE(attached.has_value());
  EXPECT_EQ(attached->status_code, 403);
  EXPECT_EQ(attached->header, error.header);
  EXPECT_FALSE(GetBackendError(absl::InternalError("x")).has_value());
  EXPECT_FALSE(GetBackendError(absl::OkStatus()).has_value());
}

}  // namespace
}  // namespace dragonfly
