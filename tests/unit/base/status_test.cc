// SPDX-License-Identifier: Apache-2.0
#include "base/status.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <cerrno>
#include <memory>
#include <string>

#include "absl/strings/cord.h"

namespace dragonfly {
namespace {

using testing::HasSubstr;

TEST(Annotate, PutsTheContextBeforeTheMessageAndKeepsCodeAndPayloads) {
  absl::Status status = absl::NotFoundError("no such piece");
  status.SetPayload("type.test/a", absl::Cord("payload"));
  const absl::Status annotated = Annotate(status, "open piece 7");
  EXPECT_EQ(annotated.code(), absl::StatusCode::kNotFound);
  EXPECT_EQ(annotated.message(), "open piece 7: no such piece");
  EXPECT_EQ(annotated.GetPayload("type.test/a"), absl::Cord("payload"));
}

TEST(Annotate, LeavesOkAlone) { EXPECT_TRUE(Annotate(absl::OkStatus(), "context").ok()); }

TEST(ErrnoStatus, MapsErrnoToTheCanonicalCode) {
  const struct {
    int error_number;
    absl::StatusCode code;
  } kCases[] = {
      {ENOENT, absl::StatusCode::kNotFound},          {EEXIST, absl::StatusCode::kAlreadyExists},
      {ENOSPC, absl::StatusCode::kResourceExhausted}, {EDQUOT, absl::StatusCode::kResourceExhausted},
      {EMFILE, absl::StatusCode::kResourceExhausted}, {EACCES, absl::StatusCode::kPermissionDenied},
      {EPERM, absl::StatusCode::kPermissionDenied},   {ECONNREFUSED, absl::StatusCode::kUnavailable},
      {ECONNRESET, absl::StatusCode::kUnavailable},   {EPIPE, absl::StatusCode::kUnavailable},
      {EHOSTUNREACH, absl::StatusCode::kUnavailable}, {ETIMEDOUT, absl::StatusCode::kDeadlineExceeded},
      {EINVAL, absl::StatusCode::kInvalidArgument},   {ECANCELED, absl::StatusCode::kCancelled},
  };
  for (const auto& test : kCases) {
    const absl::Status status = ErrnoStatus(test.error_number, "open /x");
    EXPECT_EQ(status.code(), test.code) << status;
    EXPECT_THAT(std::string(status.message()), HasSubstr("open /x: "));
  }
}

TEST(ErrnoStatus, IsNeverOk) { EXPECT_FALSE(ErrnoStatus(0, "read").ok()); }

absl::StatusOr<std::unique_ptr<int>> Make(bool ok) {
  if (!ok) return absl::AbortedError("no");
  return std::make_unique<int>(7);
}

absl::StatusOr<int> Twice(bool first, bool second) {
  DF_ASSIGN_OR_RETURN(const std::unique_ptr<int> a, Make(first));
  DF_RETURN_IF_ERROR(Make(second).status());
  DF_ASSIGN_OR_RETURN(const std::unique_ptr<int> b, Make(second));
  return *a + *b;
}

TEST(Macros, MoveTheValueOrLeaveWithTheStatus) {
  EXPECT_EQ(*Twice(true, true), 14);
  EXPECT_EQ(Twice(false, true).status(), absl::AbortedError("no"));
  EXPECT_EQ(Twice(true, false).status(), absl::AbortedError("no"));
}

}  // namespace
}  // namespace dragonfly
