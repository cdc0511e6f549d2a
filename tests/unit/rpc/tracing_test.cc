// SPDX-License-Identifier: Apache-2.0
#include <gmock/gmock.h>
#include <google/protobuf/message.h>
#include <gtest/gtest.h>

#include <map>
#include <string>

#include "rpc/otlp_exporter.h"
#include "rpc/trace_metadata.h"
#include "tests/support/otlp_collector.h"
#include "tests/unit/rpc/rpc_fixture.h"

namespace dragonfly::rpc {
namespace {

using dragonfly::testing::OtlpCollector;
using ::testing::SizeIs;

class TracingTest : public RpcTest {
 protected:
  TracingTest() {
    telemetry::TracerOptions options;
    options.batch_delay = std::chrono::milliseconds(1);
    tracer_ = std::make_unique<telemetry::Tracer>(options, *MakeOtlpExporter({.endpoint = collector_.endpoint()}));
    pool_traced_.UseTracer(tracer_.get());
  }
  ~TracingTest() override {
    // The server's spans end before the tracer does.
    if (server_ != nullptr) server_->Shutdown(Clock::now());
    server_.reset();
  }

  void ServeTraced() {
    ServerOptions options;
    options.tracer = tracer_.get();
    options.describe_call = [](const google::protobuf::Message& message, telemetry::Span& span) {
      span.Set("message", message.GetDescriptor()->name());
    };
    Serve(options);
    stub_ = dfdaemon::v2::DfdaemonUpload::NewStub(pool_traced_.Get(address_));
  }

  absl::Status CallUnder(const telemetry::SpanContext& parent) {
    const auto start = [this, &parent](grpc::ClientContext* context, const DownloadPieceRequest* q,
                                       DownloadPieceResponse* r, std::function<void(grpc::Status)> done) {
      SendTrace(parent, context);
      stub_->async()->DownloadPiece(context, q, r, std::move(done));
    };
    return runtime::RunOn(client_io(), Unary<DownloadPieceResponse>(start, DownloadPieceRequest(), kPatience)).status();
  }

  OtlpCollector collector_;
  std::unique_ptr<telemetry::Tracer> tracer_;
  ChannelPool pool_traced_{ChannelOptions()};
  std::unique_ptr<dfdaemon::v2::DfdaemonUpload::Stub> stub_;
};

TEST_F(TracingTest, BothEndsOfACallStandUnderTheCaller) {
  upload_.download_piece = [](const DownloadPieceRequest&, DownloadPieceResponse*) -> asio::awaitable<absl::Status> {
    co_return absl::NotFoundError("no such piece");
  };
  ServeTraced();
  telemetry::Span root = tracer_->Root().Start("root");
  const std::string root_id(reinterpret_cast<const char*>(root.context().span_id.data()), 8);
  EXPECT_TRUE(absl::IsNotFound(CallUnder(root.context())));
  root.End();
  const auto spans = collector_.WaitFor([](const auto& so_far) { return so_far.size() >= 3; });
  ASSERT_THAT(spans, SizeIs(3));
  const OtlpCollector::Span* client = nullptr;
  const OtlpCollector::Received* server = nullptr;
  for (const auto& one : spans) {
    if (one.span.kind() == OtlpCollector::Span::SPAN_KIND_CLIENT) client = &one.span;
    if (one.span.kind() == OtlpCollector::Span::SPAN_KIND_SERVER) server = &one;
  }
  ASSERT_NE(client, nullptr);
  ASSERT_NE(server, nullptr);
  EXPECT_EQ(client->name(), "download_piece");
  EXPECT_EQ(client->parent_span_id(), root_id);
  EXPECT_EQ(client->status().message(), "no such piece");
  EXPECT_EQ(server->span.name(), "download_piece");
  EXPECT_EQ(server->span.parent_span_id(), client->span_id());
  EXPECT_EQ(server->span.trace_id(), client->trace_id());
  EXPECT_EQ(server->span.status().message(), "no such piece");
  EXPECT_EQ(server->Attribute("message"), "DownloadPieceRequest");
}

TEST_F(TracingTest, TheHandlerFindsTheSpanOfItsCall) {
  struct Service final : dfdaemon::v2::DfdaemonUpload::CallbackService {
    grpc::ServerUnaryReactor* StatTask(grpc::CallbackServerContext* context, const dfdaemon::v2::StatTaskRequest*,
                                       common::v2::Task*) override {
      seen = TraceOf(*context);
      auto* reactor = context->DefaultReactor();
      reactor->Finish(grpc::Status::OK);
      return reactor;
    }
    telemetry::SpanContext seen;
  } service;
  ServerOptions options;
  options.addresses = {"127.0.0.1:0"};
  options.services = {&service};
  options.tracer = tracer_.get();
  auto server = Server::Start(options);
  ASSERT_TRUE(server.ok()) << server.status();
  {
    const auto stub = dfdaemon::v2::DfdaemonUpload::NewStub(pool_traced_.Get(HostPort("127.0.0.1", (*server)->port())));
    grpc::ClientContext context;
    common::v2::Task task;
    EXPECT_TRUE(stub->StatTask(&context, dfdaemon::v2::StatTaskRequest(), &task).ok());
  }
  (*server)->Shutdown(Clock::now());
  const auto spans = collector_.WaitFor([](const auto& so_far) { return so_far.size() >= 2; });
  ASSERT_THAT(spans, SizeIs(2));
  const auto& of_server = spans[0].span.kind() == OtlpCollector::Span::SPAN_KIND_SERVER ? spans[0] : spans[1];
  EXPECT_EQ(of_server.span.name(), "stat_task");
  EXPECT_EQ(of_server.span.span_id(), std::string(reinterpret_cast<const char*>(service.seen.span_id.data()), 8));
}

TEST_F(TracingTest, StreamsHaveOneSpanToo) {
  upload_.sync_pieces = [](const SyncPiecesRequest&, std::shared_ptr<ResponseWriter<SyncPiecesResponse>> writer)
      -> asio::awaitable<absl::Status> { co_return co_await writer->Write(SyncPiecesResponse()); };
  ServeTraced();
  const auto stream = StartServerStream<SyncPiecesResponse>(
      [this](grpc::ClientContext* context, const SyncPiecesRequest* request,
             grpc::ClientReadReactor<SyncPiecesResponse>* reactor) {
        stub_->async()->SyncPieces(context, request, reactor);
      },
      SyncPiecesRequest());
  EXPECT_TRUE(Read(stream)->has_value());
  EXPECT_FALSE(Read(stream)->has_value());
  const auto spans = collector_.WaitFor([](const auto& so_far) { return so_far.size() >= 2; });
  ASSERT_THAT(spans, SizeIs(2));
  for (const auto& one : spans) {
    EXPECT_EQ(one.span.name(), "sync_pieces");
    EXPECT_EQ(one.span.status().code(), opentelemetry::proto::trace::v1::Status::STATUS_CODE_UNSET);
  }
}

}  // namespace
}  // namespace dragonfly::rpc
