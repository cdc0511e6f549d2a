// SPDX-License-Identifier: Apache-2.0
#include "rpc/otlp_exporter.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <chrono>
#include <thread>

#include "telemetry/trace.h"
#include "tests/support/otlp_collector.h"

namespace dragonfly::rpc {
namespace {

using ::testing::Contains;
using ::testing::HasSubstr;
using ::testing::Not;
using ::testing::Pair;
using ::testing::SizeIs;

std::chrono::steady_clock::time_point In(std::chrono::milliseconds time) {
  return std::chrono::steady_clock::now() + time;
}

std::unique_ptr<telemetry::SpanExporter> Make(OtlpExporterOptions options) {
  auto exporter = MakeOtlpExporter(std::move(options));
  EXPECT_TRUE(exporter.ok()) << exporter.status();
  return exporter.ok() ? *std::move(exporter) : nullptr;
}

TEST(OtlpGrpcExporter, BringsSpansAndHeadersToACollector) {
  dragonfly::testing::OtlpCollector collector;
  OtlpExporterOptions options;
  options.endpoint = collector.endpoint();
  options.headers = {{"X-Token", "secret"}, {"x-token", "second"}};
  telemetry::TracerOptions tracing;
  tracing.name = "test";
  tracing.resource = {{"service.name", "me"}};
  telemetry::Tracer tracer(tracing, Make(options));
  tracer.Root().Start("one").End();
  tracer.Stop(In(std::chrono::seconds(20)));
  const auto spans = collector.WaitForNames({"one"});
  ASSERT_THAT(spans, SizeIs(1));
  EXPECT_EQ(spans[0].resource.at("service.name"), "me");
  EXPECT_THAT(collector.metadata(), Contains(Pair("x-token", "secret")));
  EXPECT_THAT(collector.metadata(), Contains(Pair("x-token", "second")));
  EXPECT_EQ(tracer.counts().exported, 1u);
}

TEST(OtlpGrpcExporter, TellsWhatTheCollectorSaid) {
  dragonfly::testing::OtlpCollector collector;
  collector.AnswerWith(7, "not you");
  const auto exporter = Make({.endpoint = "http://" + collector.endpoint() + "/"});
  const auto answer = exporter->Export("", In(std::chrono::seconds(20)));
  EXPECT_EQ(answer.status().code(), absl::StatusCode::kPermissionDenied);
  EXPECT_THAT(answer.status().message(), HasSubstr("collector " + collector.endpoint() + ": not you"));
}

TEST(OtlpGrpcExporter, EndsAtItsDeadlineWhenNobodyListens) {
  // A port of TEST-NET-1 that answers nothing, or an unreachable network: both are failures in time.
  const auto exporter = Make({.endpoint = "192.0.2.1:4317"});
  const auto begin = std::chrono::steady_clock::now();
  const auto answer = exporter->Export("", In(std::chrono::milliseconds(200)));
  EXPECT_FALSE(answer.ok());
  EXPECT_LT(std::chrono::steady_clock::now() - begin, std::chrono::seconds(20));
}

TEST(OtlpGrpcExporter, CancelEndsARunningExport) {
  const auto exporter = Make({.endpoint = "unix:/nonexistent/collector.sock"});
  exporter->Cancel();
  EXPECT_TRUE(absl::IsCancelled(exporter->Export("", In(std::chrono::hours(1))).status()));
}

TEST(OtlpGrpcExporter, RefusesHeadersThatWouldEndTheProcess) {
  for (const auto& [name, value] : std::vector<std::pair<std::string, std::string>>{
           {"", "x"}, {"a b", "x"}, {"grpc-timeout", "x"}, {"ok", "hush\n"}, {"ok", "hush\xc3\xa4"}, {":path", "x"}}) {
    const auto exporter = MakeOtlpExporter({.endpoint = "x:1", .headers = {{name, value}}});
    EXPECT_TRUE(absl::IsInvalidArgument(exporter.status())) << name;
    EXPECT_THAT(exporter.status().message(), Not(HasSubstr("hush")));
  }
}

}  // namespace
}  // namespace dragonfly::rpc
