// SPDX-License-Identifier: Apache-2.0
#include "rpc/trace_metadata.h"

#include <gtest/gtest.h>

#include <string>

#include "absl/synchronization/mutex.h"
#include "tests/unit/rpc/rpc_fixture.h"

namespace dragonfly::rpc {
namespace {

class TracedService final : public dfdaemon::v2::DfdaemonUpload::CallbackService {
 public:
  grpc::ServerUnaryReactor* DownloadPiece(grpc::CallbackServerContext* context, const DownloadPieceRequest*,
                                          DownloadPieceResponse*) override {
    {
      const absl::MutexLock lock(&mutex_);
      seen_ = TraceOf(*context);
    }
    auto* reactor = context->DefaultReactor();
    reactor->Finish(grpc::Status::OK);
    return reactor;
  }
  telemetry::SpanContext Seen() {
    const absl::MutexLock lock(&mutex_);
    return seen_;
  }

 private:
  absl::Mutex mutex_;
  telemetry::SpanContext seen_ ABSL_GUARDED_BY(mutex_);
};

class TraceMetadataTest : public ::testing::Test {
 protected:
  TraceMetadataTest() {
    ServerOptions options;
    options.addresses = {"127.0.0.1:0"};
    options.services = {&service_};
    auto server = Server::Start(options);
    EXPECT_TRUE(server.ok()) << server.status();
    server_ = *std::move(server);
    stub_ = dfdaemon::v2::DfdaemonUpload::NewStub(pool_.Get(HostPort("127.0.0.1", server_->port())));
  }
  ~TraceMetadataTest() override { server_->Shutdown(Clock::now()); }

  template <typename Prepare>
  telemetry::SpanContext CallWith(Prepare prepare) {
    grpc::ClientContext context;
    prepare(&context);
    DownloadPieceResponse response;
    EXPECT_TRUE(stub_->DownloadPiece(&context, DownloadPieceRequest(), &response).ok());
    return service_.Seen();
  }

  TracedService service_;
  ChannelPool pool_{ChannelOptions()};
  std::unique_ptr<Server> server_;
  std::unique_ptr<dfdaemon::v2::DfdaemonUpload::Stub> stub_;
};

TEST_F(TraceMetadataTest, CarriesATraceToTheServer) {
  const auto sent = telemetry::ParseTraceparent("00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01", "a=b");
  const telemetry::SpanContext seen = CallWith([&](grpc::ClientContext* context) { SendTrace(*sent, context); });
  EXPECT_EQ(seen.ToTraceparent(), sent->ToTraceparent());
  EXPECT_EQ(seen.state, "a=b");
}

TEST_F(TraceMetadataTest, SendsNothingWithoutATrace) {
  EXPECT_FALSE(CallWith([](grpc::ClientContext* context) { SendTrace(telemetry::SpanContext(), context); }).valid());
}

TEST_F(TraceMetadataTest, TakesNonsenseForNothing) {
  EXPECT_FALSE(CallWith([](grpc::ClientContext* context) { context->AddMetadata("traceparent", "00-x-y-z"); }).valid());
}

}  // namespace
}  // namespace dragonfly::rpc
