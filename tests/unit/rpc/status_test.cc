// SPDX-License-Identifier: Apache-2.0
#include "rpc/status.h"

#include <gtest/gtest.h>

#include <string>

#include "base/backend_error.h"
#include "base/status.h"
#include "rpc/wire_status.h"

namespace dragonfly::rpc {
namespace {

TEST(RpcStatus, CodesMapOneToOne) {
  for (int code = 1; code <= 16; ++code) {
    const absl::Status status(static_cast<absl::StatusCode>(code), "text");
    const grpc::Status wire = ToGrpc(status);
    EXPECT_EQ(static_cast<int>(wire.error_code()), code);
    EXPECT_EQ(FromGrpc(wire), status);
  }
  EXPECT_TRUE(ToGrpc(absl::OkStatus()).ok());
  EXPECT_TRUE(FromGrpc(grpc::Status::OK).ok());
}

TEST(RpcStatus, BackendErrorTravelsAsJson) {
  BackendError error;
  error.message = "404 Not Found";
  error.header = {{"content-type", "text/plain"}};
  error.status_code = 404;
  const grpc::Status wire = ToGrpc(Annotate(MakeBackendErrorStatus(error), "piece 7"));
  EXPECT_EQ(wire.error_message(), "piece 7: backend error 404 Not Found");
  EXPECT_EQ(wire.error_details(),
            R"({"message":"404 Not Found","header":{"content-type":"text/plain"},"status_code":404})");

  const absl::Status back = FromGrpc(wire);
  EXPECT_EQ(back.code(), absl::StatusCode::kInternal);
  EXPECT_EQ(GetBackendError(back)->status_code, 404);
}

TEST(RpcStatus, DetailsOfOtherServersAreIgnored) {
  EXPECT_FALSE(GetBackendError(StatusFromWire(13, "text", std::string("\x08\x0d\x12\x04text", 8))).has_value());
  EXPECT_FALSE(GetBackendError(StatusFromWire(13, "text", "{broken")).has_value());
  EXPECT_EQ(StatusFromWire(99, "text", "").code(), absl::StatusCode::kUnknown);
  EXPECT_EQ(StatusFromWire(-1, "text", "").code(), absl::StatusCode::kUnknown);
}

// The status code must reach the user, however much the origin had to say.
TEST(RpcStatus, WhatIsTooLongForTrailersIsCut) {
  BackendError error;
  error.message = std::string(100'000, 'm');
  for (int i = 0; i < 100; ++i) error.header["x-" + std::to_string(i)] = std::string(2000, 'v');
  error.status_code = 502;
  const grpc::Status wire = ToGrpc(MakeBackendErrorStatus(error));
  EXPECT_LE(wire.error_message().size() + wire.error_details().size() * 4 / 3, 7000u);
  EXPECT_EQ(GetBackendError(FromGrpc(wire))->status_code, 502);
}

TEST(RpcStatus, CutTextStaysUtf8) {
  std::string text;
  while (text.size() < 5000) text += "ü";
  const std::string cut = ToGrpc(absl::InternalError("x" + text)).error_message();
  ASSERT_LE(cut.size(), 1024u);
  EXPECT_EQ((cut.size() - 1) % 2, 0u);
}

}  // namespace
}  // namespace dragonfly::rpc
