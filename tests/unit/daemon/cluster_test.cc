// SPDX-License-Identifier: Apache-2.0
// A whole cluster in one process: the real scheduler, a seed and peers, an origin that counts.
#include <gmock/gmock.h>
#include <grpcpp/create_channel.h>
#include <gtest/gtest.h>

#include <algorithm>
#include <chrono>
#include <filesystem>
#include <functional>
#include <future>
#include <memory>
#include <string>
#include <vector>

#include "base/text.h"
#include "dfdaemon/v2/dfdaemon.grpc.pb.h"
#include "rpc/status.h"
#include "scheduler/config.h"
#include "scheduler/scheduler.h"
#include "tests/support/otlp_collector.h"
#include "tests/unit/daemon/daemon_fixture.h"
#include "tests/unit/daemon/scripted_origin.h"

namespace dragonfly::daemon {
namespace {

using test::RandomBytes;
using test::ReadFile;

TimePoint In(Clock::duration duration) { return Clock::now() + duration; }

// One caller of a daemon, connected and ready to call.
class DownloadCall : public grpc::ClientReadReactor<dfdaemon::v2::DownloadTaskResponse> {
 public:
  DownloadCall(const std::string& socket_path, const std::string& url, const std::string& output)
      : channel_(grpc::CreateChannel("unix:" + socket_path, grpc::InsecureChannelCredentials())),
        stub_(dfdaemon::v2::DfdaemonDownload::NewStub(channel_)) {
    request_.mutable_download()->set_url(url);
    request_.mutable_download()->set_output_path(output);
    const auto deadline = std::chrono::system_clock::now() + std::chrono::seconds(60);
    EXPECT_TRUE(channel_->WaitForConnected(deadline)) << socket_path;
    context_.set_deadline(deadline);
  }

  void Begin() {
    stub_->async()->DownloadTask(&context_, &request_, this);
    StartRead(&response_);
    StartCall();
  }
  absl::Status Wait() { return done_.get_future().get(); }

 private:
  void OnReadDone(bool ok) override {
    if (ok) StartRead(&response_);
  }
  void OnDone(const grpc::Status& status) override { done_.set_value(rpc::FromGrpc(status)); }

  std::shared_ptr<grpc::Channel> channel_;
  std::unique_ptr<dfdaemon::v2::DfdaemonDownload::Stub> stub_;
  grpc::ClientContext context_;
  dfdaemon::v2::DownloadTaskRequest request_;
  dfdaemon::v2::DownloadTaskResponse response_;
  std::promise<absl::Status> done_;
};

class ClusterTest : public test::DaemonFixture {
 protected:
  ClusterTest() {
    scheduler::SchedulerConfig config;
    config.server.listen_ip = "127.0.0.1";
    config.server.port = 0;
    config.server.cache_dir = dir_.path() + "/scheduler";
    auto started = scheduler::Scheduler::Start(config, io_);
    EXPECT_TRUE(started.ok()) << started.status();
    if (started.ok()) scheduler_ = *std::move(started);
  }
  ~ClusterTest() override {
    // Peers before the scheduler that they talk to.
    peers_.clear();
    seed_.reset();
    if (scheduler_ != nullptr) scheduler_->Stop(Clock::now());
  }

  std::string scheduler_address() const { return StrCat("127.0.0.1:", scheduler_->port()); }

  void StartSeed() { seed_ = Start(Config("seed", scheduler_address(), /*seed=*/true)); }
  void StartPeers(size_t count) {
    for (size_t i = 0; i < count; ++i) {
      peers_.push_back(Start(Config(StrCat("peer-", peers_.size()), scheduler_address())));
    }
  }

  std::string Output(size_t peer) const { return StrCat(dir_.path(), "/out-", peer); }

  // All peers ask for `url` at the same moment; `meanwhile` runs while they download. The first error, if any.
  absl::Status DownloadByAll(const std::string& url, const std::function<void()>& meanwhile = nullptr) {
    std::vector<std::unique_ptr<DownloadCall>> calls;
    for (size_t i = 0; i < peers_.size(); ++i) {
      calls.push_back(std::make_unique<DownloadCall>(peers_[i]->socket_path(), url, Output(i)));
    }
    const TimePoint begin = Clock::now();
    for (const auto& call : calls) call->Begin();
    begun_within_ = Clock::now() - begin;
    if (meanwhile) meanwhile();
    absl::Status failure;
    for (const auto& call : calls) failure.Update(call->Wait());
    const auto took = std::chrono::duration_cast<std::chrono::milliseconds>(Clock::now() - begin);
    RecordProperty("download_milliseconds", static_cast<int>(took.count()));
    return failure;
  }

  // Compares and removes what the peers made.
  void ExpectAllHave(const std::string& content) {
    for (size_t i = 0; i < peers_.size(); ++i) {
      EXPECT_TRUE(ReadFile(Output(i)) == content) << "peer " << i;
      std::filesystem::remove(Output(i));
    }
  }

  // The time in which DownloadByAll() began all its calls.
  Clock::duration begun_within_{};
  std::unique_ptr<scheduler::Scheduler> scheduler_;
  std::unique_ptr<Daemon> seed_;
  std::vector<std::unique_ptr<Daemon>> peers_;
};

TEST_F(ClusterTest, ReadsTheOriginOnceForAllPeers) {
  const ScriptedOrigin origin(RandomBytes((40 << 20) + 12345));
  StartSeed();
  StartPeers(2);
  const absl::Status status = DownloadByAll(origin.Url());
  ASSERT_TRUE(status.ok()) << status;
  ExpectAllHave(origin.content());
  EXPECT_EQ(origin.reads_of_any_byte(), 1);
  EXPECT_EQ(origin.bytes_read(), origin.content().size());
}

TEST_F(ClusterTest, SharesSmallFilesToo) {
  StartSeed();
  StartPeers(2);
  for (const size_t size : {size_t{0}, size_t{1}, size_t{129}, size_t{4} << 20}) {
    const ScriptedOrigin origin(RandomBytes(size, size));
    const absl::Status status = DownloadByAll(origin.Url());
    ASSERT_TRUE(status.ok()) << size << ": " << status;
    ExpectAllHave(origin.content());
    // The answer to the question about the file may be all of a small one.
    EXPECT_LE(origin.bytes_read(), size);
    EXPECT_LE(origin.reads_of_any_byte(), 1);
  }
}

TEST_F(ClusterTest, ASmallFileCostsTheOriginOneRequest) {
  const auto trusting = [this](const std::string& name, bool seed) {
    DaemonConfig config = Config(name, scheduler_address(), seed);
    config.storage.revalidate = DaemonConfig::Revalidate::kInterval;
    return config;
  };
  seed_ = Start(trusting("seed", true));
  for (const char* name : {"peer-0", "peer-1", "peer-2"}) peers_.push_back(Start(trusting(name, false)));
  for (const size_t size : {size_t{1}, size_t{4} << 20}) {
    const ScriptedOrigin origin(RandomBytes(size, size));
    const absl::Status status = DownloadByAll(origin.Url());
    ASSERT_TRUE(status.ok()) << size << ": " << status;
    ExpectAllHave(origin.content());
    EXPECT_EQ(origin.reads(), 1);
    EXPECT_EQ(origin.stats(), 0);
  }
}

TEST_F(ClusterTest, SixtyFourPeersAtTheSameMomentReadTheOriginOnce) {
  StartSeed();
  StartPeers(64);
  // A busy machine may need some tries to begin 64 calls in so short a time; the promise holds for each of them.
  constexpr int kTries = 20;
  for (int tries = 0; tries < kTries; ++tries) {
    const ScriptedOrigin origin(RandomBytes((12 << 20) + 5));
    const absl::Status status = DownloadByAll(origin.Url());
    ASSERT_TRUE(status.ok()) << status;
    ExpectAllHave(origin.content());
    EXPECT_EQ(origin.reads_of_any_byte(), 1);
    EXPECT_EQ(origin.bytes_read(), origin.content().size());
    RecordProperty("begun_within_microseconds",
                   static_cast<int>(std::chrono::duration_cast<std::chrono::microseconds>(begun_within_).count()));
    RecordProperty("tries", tries + 1);
    if (begun_within_ <= std::chrono::milliseconds(10)) return;
  }
  ADD_FAILURE() << "64 calls never began within 10 ms";
}

TEST_F(ClusterTest, APeerThatComesLaterIsServedByTheOthers) {
  const ScriptedOrigin origin(RandomBytes((12 << 20) + 5));
  StartSeed();
  StartPeers(1);
  ASSERT_TRUE(DownloadByAll(origin.Url()).ok());
  ExpectAllHave(origin.content());
  EXPECT_TRUE(seed_->Stop(In(std::chrono::seconds(5))).ok());

  const uint64_t before = origin.bytes_read();
  StartPeers(1);
  ASSERT_TRUE(DownloadByAll(origin.Url()).ok());
  ExpectAllHave(origin.content());
  EXPECT_EQ(origin.bytes_read(), before);
}

TEST_F(ClusterTest, SurvivesTheLossOfTheSeedHalfWay) {
  ScriptedOrigin origin(RandomBytes((40 << 20) + 99));
  StartSeed();
  StartPeers(3);
  origin.HoldFrom(16 << 20);
  const absl::Status status = DownloadByAll(origin.Url(), [&] {
    EXPECT_TRUE(origin.AwaitHeld());
    seed_->Stop(Clock::now()).IgnoreError();
    origin.Release();
  });
  ASSERT_TRUE(status.ok()) << status;
  ExpectAllHave(origin.content());
}

TEST_F(ClusterTest, SurvivesTheLossOfTheScheduler) {
  const ScriptedOrigin origin(RandomBytes((8 << 20) + 99));
  StartSeed();
  StartPeers(2);
  scheduler_->Stop(Clock::now());
  scheduler_.reset();
  const absl::Status status = DownloadByAll(origin.Url());
  ASSERT_TRUE(status.ok()) << status;
  ExpectAllHave(origin.content());
}

TEST_F(ClusterTest, WithoutASeedOnePeerFetchesForAll) {
  const ScriptedOrigin origin(RandomBytes((12 << 20) + 5));
  StartPeers(4);
  const absl::Status status = DownloadByAll(origin.Url());
  ASSERT_TRUE(status.ok()) << status;
  ExpectAllHave(origin.content());
  EXPECT_EQ(origin.reads_of_any_byte(), 1);
  EXPECT_EQ(origin.bytes_read(), origin.content().size());
}

TEST_F(ClusterTest, OneTraceFollowsADownloadFromTheCallerToTheParent) {
  dragonfly::testing::OtlpCollector collector;
  const auto traced = [&](DaemonConfig config) {
    config.tracing.protocol = "grpc";
    config.tracing.endpoint = collector.endpoint();
    return Start(config);
  };
  const ScriptedOrigin origin(RandomBytes((9 << 20) + 5));
  seed_ = traced(Config("seed", scheduler_address(), /*seed=*/true));
  peers_.push_back(traced(Config("peer", scheduler_address())));
  ASSERT_TRUE(seed_ != nullptr && peers_[0] != nullptr);
  const absl::Status status = DownloadByAll(origin.Url() + "?token=secret");
  ASSERT_TRUE(status.ok()) << status;
  // Their ends bring the last spans.
  peers_.clear();
  seed_.reset();

  const auto spans = collector.WaitForNames({"download_task", "download", "announce_peer", "sync_pieces", "get"});
  using Span = dragonfly::testing::OtlpCollector::Span;
  const auto find = [&](const std::string& name, Span::SpanKind kind, const std::string& host) {
    const auto found = std::ranges::find_if(spans, [&](const auto& one) {
      return one.span.name() == name && one.span.kind() == kind && one.resource.at("host.name") == host;
    });
    EXPECT_NE(found, spans.end()) << name << " of " << host;
    return found == spans.end() ? dragonfly::testing::OtlpCollector::Received() : *found;
  };
  const auto call = find("download_task", Span::SPAN_KIND_SERVER, "peer");
  EXPECT_EQ(call.span.parent_span_id(), "");
  EXPECT_EQ(call.Attribute("url"), origin.Url());
  EXPECT_EQ(call.Attribute("task_id").size(), 64u);
  EXPECT_EQ(call.resource.at("service.name"), "dfdaemon-127.0.0.1");
  EXPECT_EQ(call.resource.at("host.seed_peer"), "false");
  const auto download = find("download", Span::SPAN_KIND_INTERNAL, "peer");
  EXPECT_EQ(download.span.parent_span_id(), call.span.span_id());
  EXPECT_EQ(download.Attribute("task_id"), call.Attribute("task_id"));
  const auto announce = find("announce_peer", Span::SPAN_KIND_CLIENT, "peer");
  EXPECT_EQ(announce.span.parent_span_id(), download.span.span_id());
  const auto batch = find("download_partial_with_scheduler_from_parent", Span::SPAN_KIND_INTERNAL, "peer");
  EXPECT_EQ(batch.span.parent_span_id(), download.span.span_id());
  const auto asked = find("sync_pieces", Span::SPAN_KIND_CLIENT, "peer");
  EXPECT_EQ(asked.span.parent_span_id(), batch.span.span_id());
  const auto answered = find("sync_pieces", Span::SPAN_KIND_SERVER, "seed");
  EXPECT_EQ(answered.span.parent_span_id(), asked.span.span_id());
  EXPECT_EQ(answered.span.trace_id(), call.span.trace_id());
  EXPECT_EQ(answered.Attribute("remote_host_id"), "127.0.0.1-peer");
  const auto from_origin = find("download_partial_with_scheduler_from_source", Span::SPAN_KIND_INTERNAL, "seed");
  const auto get = find("get", Span::SPAN_KIND_CLIENT, "seed");
  // The first request stands under the download itself, those that follow under this step.
  EXPECT_TRUE(std::ranges::any_of(spans, [&](const auto& one) {
    return one.span.name() == "get" && one.span.parent_span_id() == from_origin.span.span_id();
  }));
  EXPECT_EQ(get.span.trace_id(), from_origin.span.trace_id());
  for (const auto& one : spans) EXPECT_EQ(one.span.ShortDebugString().find("secret"), std::string::npos);
}

}  // namespace
}  // namespace dragonfly::daemon
