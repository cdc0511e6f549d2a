// SPDX-License-Identifier: Apache-2.0
#include "http/otlp_exporter.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <chrono>
#include <future>
#include <mutex>

#include "http/router.h"
#include "opentelemetry/proto/collector/trace/v1/trace_service.pb.h"
#include "telemetry/trace.h"
#include "tests/support/scripted_server.h"
#include "tests/unit/runtime/run_coroutine.h"

namespace dragonfly::http {
namespace {

using opentelemetry::proto::collector::trace::v1::ExportTraceServiceRequest;
using ::testing::HasSubstr;
using ::testing::Not;

std::chrono::steady_clock::time_point In(std::chrono::milliseconds time) {
  return std::chrono::steady_clock::now() + time;
}

std::unique_ptr<telemetry::SpanExporter> Make(OtlpExporterOptions options) {
  auto exporter = MakeOtlpExporter(std::move(options));
  EXPECT_TRUE(exporter.ok()) << exporter.status();
  return exporter.ok() ? *std::move(exporter) : nullptr;
}

class OtlpHttpExporterTest : public ::testing::Test {
 protected:
  OtlpHttpExporterTest() {
    Router router;
    router.On("POST", "/v1/traces", [this](Request request) { return Take(std::move(request)); });
    ServerOptions options;
    options.ip = "127.0.0.1";
    auto server = Server::Start(options, io_, std::move(router));
    EXPECT_TRUE(server.ok()) << server.status();
    server_ = *std::move(server);
  }
  ~OtlpHttpExporterTest() override { runtime::RunOn(io_.At(0), server_->Stop()); }

  boost::asio::awaitable<Response> Take(Request request) {
    const std::lock_guard lock(mutex_);
    requests_.push_back(std::move(request));
    Response response;
    response.status = status_;
    response.body = body_;
    co_return response;
  }
  std::string Url(const std::string& path = "/v1/traces") const {
    return "http://127.0.0.1:" + std::to_string(server_->port()) + path;
  }

  runtime::IoThreads io_{1};
  std::unique_ptr<Server> server_;
  std::mutex mutex_;
  std::vector<Request> requests_;
  int status_ = 200;
  std::string body_;
};

TEST_F(OtlpHttpExporterTest, PostsProtobufWithHeaders) {
  telemetry::TracerOptions tracing;
  tracing.batch_max = 1;
  telemetry::Tracer tracer(tracing, Make({.url = Url(), .headers = {{"Authorization", "Bearer t"}, {"x-empty", ""}}}));
  tracer.Root().Start("one").End();
  tracer.Root().Start("two").End();
  tracer.Stop(In(std::chrono::seconds(20)));
  ASSERT_EQ(requests_.size(), 2u);
  EXPECT_EQ(requests_[0].Find("content-type"), "application/x-protobuf");
  EXPECT_EQ(requests_[0].Find("authorization"), "Bearer t");
  ExportTraceServiceRequest request;
  ASSERT_TRUE(request.ParseFromString(requests_[1].body));
  EXPECT_EQ(request.resource_spans(0).scope_spans(0).spans(0).name(), "two");
  EXPECT_EQ(tracer.counts().exported, 2u);
}

TEST_F(OtlpHttpExporterTest, ReturnsTheBodyAndKnowsWhatMayHelpAgain) {
  const auto exporter = Make({.url = Url()});
  body_ = "abc";
  EXPECT_EQ(exporter->Export("x", In(std::chrono::seconds(20))).value(), "abc");
  for (const int status : {429, 502, 503, 504}) {
    status_ = status;
    EXPECT_TRUE(absl::IsUnavailable(exporter->Export("x", In(std::chrono::seconds(20))).status())) << status;
  }
  status_ = 400;
  body_ = "bad\nspan";
  const auto refused = exporter->Export("x", In(std::chrono::seconds(20)));
  EXPECT_EQ(refused.status().code(), absl::StatusCode::kFailedPrecondition);
  EXPECT_THAT(refused.status().message(), HasSubstr("/v1/traces: 400 Bad Request \"bad\\nspan\""));
  const auto elsewhere = Make({.url = Url("/other?token=hush")})->Export("x", In(std::chrono::seconds(20)));
  EXPECT_THAT(elsewhere.status().message(), HasSubstr("/other: 404 Not Found"));
  EXPECT_THAT(elsewhere.status().message(), Not(HasSubstr("hush")));
}

TEST_F(OtlpHttpExporterTest, SaysThatNobodyListens) {
  const uint16_t port = server_->port();
  runtime::RunOn(io_.At(0), server_->Stop());
  const auto exporter = Make({.url = "http://127.0.0.1:" + std::to_string(port) + "/v1/traces"});
  EXPECT_TRUE(absl::IsUnavailable(exporter->Export("x", In(std::chrono::seconds(20))).status()));
}

TEST(OtlpHttpExporter, EndsAtTheDeadlineAndWhenCancelled) {
  std::promise<void> asked;
  dragonfly::testing::ScriptedServer silent([&](auto& connection, const std::string&, int number) {
    if (number == 1) asked.set_value();
    connection.AwaitClientGone();
  });
  {
    const auto exporter = Make({.url = silent.Url()});
    EXPECT_TRUE(absl::IsDeadlineExceeded(exporter->Export("x", In(std::chrono::milliseconds(50))).status()));
  }
  const auto exporter = Make({.url = silent.Url()});
  auto answer =
      std::async(std::launch::async, [&] { return exporter->Export("x", In(std::chrono::hours(1))).status(); });
  asked.get_future().wait();
  exporter->Cancel();
  EXPECT_TRUE(absl::IsCancelled(answer.get()));
}

TEST(OtlpHttpExporter, RefusesWhatCannotBeSent) {
  EXPECT_TRUE(absl::IsInvalidArgument(MakeOtlpExporter({.url = "jaeger:4318"}).status()));
  const auto split = MakeOtlpExporter({.url = "http://x/", .headers = {{"a", "hush\r\nb: c"}}});
  EXPECT_TRUE(absl::IsInvalidArgument(split.status()));
  EXPECT_THAT(split.status().message(), Not(HasSubstr("hush")));
}

}  // namespace
}  // namespace dragonfly::http
