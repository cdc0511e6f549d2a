// SPDX-License-Identifier: Apache-2.0
#include "daemon/call_gate.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <boost/asio/co_spawn.hpp>
#include <boost/asio/use_future.hpp>
#include <future>
#include <string>
#include <vector>

#include "common/v2/common.pb.h"
#include "runtime/io_threads.h"
#include "telemetry/metrics.h"

namespace dragonfly::daemon {
namespace {

namespace asio = boost::asio;
using ::testing::HasSubstr;

class CallGateTest : public ::testing::Test {
 protected:
  CallGate::Options Options(uint64_t rate, uint64_t buffer) {
    CallGate::Options options;
    options.server = "upload";
    options.requests_per_second = rate;
    options.buffer_size = buffer;
    return options;
  }
  absl::StatusOr<CallGate::Pass> Enter(CallGate& gate, CallKind kind = CallKind::kUnary) {
    return asio::co_spawn(io_.At(0), gate.Enter(kind), asio::use_future).get();
  }
  BlockListSource Source(const std::string& json) {
    auto parsed = ParseClientConfig(json, "list");
    EXPECT_TRUE(parsed.ok()) << parsed.status();
    auto list = std::make_shared<const BlockList>(std::move(parsed->block_list));
    return [list] { return list; };
  }

  runtime::IoThreads io_{1};
  telemetry::Metrics metrics_;
  Probe probe_{metrics_};
  runtime::LoadSample load_;
  OverloadMonitor monitor_{OverloadMonitor::Options(), io_.At(0), [this](TimePoint) { return load_; }};
};

TEST_F(CallGateTest, WithoutLimitsEverybodyComesIn) {
  CallGate gate(CallGate::Options(), nullptr, nullptr, probe_);
  for (int i = 0; i < 1000; ++i) EXPECT_TRUE(Enter(gate).ok());
  EXPECT_TRUE(gate.CheckDownload(common::v2::Download()).ok());
}

TEST_F(CallGateTest, RefusesWhenTheRateIsUsedAndTheBufferIsFull) {
  CallGate gate(Options(1, 0), nullptr, nullptr, probe_);
  EXPECT_TRUE(Enter(gate).ok());
  const absl::Status refused = Enter(gate).status();
  EXPECT_EQ(refused.code(), absl::StatusCode::kResourceExhausted);
  EXPECT_EQ(refused.message(), "server is overloaded: too many requests, please retry later");
  EXPECT_THAT(metrics_.Render(),
              HasSubstr("dragonfly_client_call_refused_total{reason=\"rate\",server=\"upload\"} 1\n"));
}

TEST_F(CallGateTest, CallsWaitInTheBufferForTheirTurn) {
  // Fifty at once, fifty in the buffer; then they come every 20 ms.
  CallGate gate(Options(50, 50), nullptr, nullptr, probe_);
  std::vector<std::future<absl::StatusOr<CallGate::Pass>>> calls;
  const TimePoint begin = Clock::now();
  for (int i = 0; i < 200; ++i)
    calls.push_back(asio::co_spawn(io_.At(0), gate.Enter(CallKind::kUnary), asio::use_future));
  int admitted = 0;
  for (auto& call : calls) admitted += call.get().ok() ? 1 : 0;
  const double seconds = std::chrono::duration<double>(Clock::now() - begin).count();
  EXPECT_GE(admitted, 100);
  EXPECT_LE(admitted, 100 + static_cast<int>(seconds * 50) + 1);
  EXPECT_GE(seconds, 0.97);
}

TEST_F(CallGateTest, ShedsWhatIsAboveTheCapacityDuringAnOverload) {
  CallGate gate(Options(0, 0), &monitor_, nullptr, probe_);
  EXPECT_TRUE(Enter(gate).ok());  // measured: one at a time, and quick
  load_.memory_percent = 90;
  monitor_.Look();
  EXPECT_TRUE(monitor_.overloaded());
  const absl::StatusOr<CallGate::Pass> held = Enter(gate);
  ASSERT_TRUE(held.ok());
  const absl::Status refused = Enter(gate).status();
  EXPECT_EQ(refused.code(), absl::StatusCode::kResourceExhausted);
  EXPECT_EQ(refused.message(), "server is overloaded: CPU/memory thresholds are exceeded, please retry later");
  EXPECT_THAT(metrics_.Render(),
              HasSubstr("dragonfly_client_call_refused_total{reason=\"overload\",server=\"upload\"} 1\n"));
  // Of streams nothing is known yet.
  EXPECT_TRUE(Enter(gate, CallKind::kStream).ok());
}

TEST_F(CallGateTest, TheOverloadEndsWithTheLoad) {
  load_.memory_percent = 95;
  monitor_.Look();
  EXPECT_TRUE(monitor_.overloaded());
  load_.memory_percent = 89.9;
  load_.cpu_percent = 100;  // its threshold of 100 means that nobody looks
  monitor_.Look();
  EXPECT_FALSE(monitor_.overloaded());
}

TEST_F(CallGateTest, TheLoadIsSampledAgainAndAgain) {
  std::promise<void> third;
  int samples = 0;
  OverloadMonitor::Options options;
  options.collect_interval = std::chrono::milliseconds(100);
  OverloadMonitor monitor(options, io_.At(0), [&](TimePoint) {
    if (++samples == 3) third.set_value();
    return runtime::LoadSample();
  });
  const TimePoint begin = Clock::now();
  monitor.Start();
  third.get_future().get();
  EXPECT_GE(Clock::now() - begin, std::chrono::milliseconds(199));
  asio::co_spawn(io_.At(0), monitor.Stop(), asio::use_future).get();
}

TEST_F(CallGateTest, RefusesDownloadsThatTheOperatorsBlock) {
  CallGate gate(CallGate::Options(), nullptr, Source(R"({"block_list": {"task": {"download": {
    "applications": ["ml"], "urls": ["^https://bad\\.example/"], "tags": ["nightly"], "priorities": ["6"]}}}})"),
                probe_);
  common::v2::Download download;
  download.set_url("https://good.example/");
  EXPECT_TRUE(gate.CheckDownload(download).ok());
  download.set_application("ml");
  const absl::Status refused = gate.CheckDownload(download);
  EXPECT_EQ(refused.code(), absl::StatusCode::kPermissionDenied);
  EXPECT_EQ(refused.message(), "download rejected by blocklist policy");
  download.set_application("web");
  EXPECT_TRUE(gate.CheckDownload(download).ok());
  download.set_tag("nightly");
  EXPECT_FALSE(gate.CheckDownload(download).ok());
  download.clear_tag();
  download.set_priority(common::v2::LEVEL6);
  EXPECT_FALSE(gate.CheckDownload(download).ok());
  download.clear_priority();
  download.set_url("https://bad.example/file");
  EXPECT_FALSE(gate.CheckDownload(download).ok());
  EXPECT_THAT(metrics_.Render(), HasSubstr("dragonfly_client_download_task_blocked_total{type=\"0\"} 4\n"));
}

TEST_F(CallGateTest, RefusesUploadsThatTheOperatorsBlock) {
  CallGate gate(CallGate::Options(), nullptr,
                Source(R"({"blockList": {"persistentCacheTask": {"upload": {"tags": ["secret"]}}}})"), probe_);
  BlockQuery query;
  query.tag = "secret";
  const absl::Status refused = gate.CheckUpload(TaskType::kPersistentCache, query);
  EXPECT_EQ(refused.code(), absl::StatusCode::kPermissionDenied);
  EXPECT_EQ(refused.message(), "upload rejected by blocklist policy");
  EXPECT_TRUE(gate.CheckUpload(TaskType::kPersistent, query).ok());
  EXPECT_THAT(metrics_.Render(), HasSubstr("dragonfly_client_upload_task_blocked_total{type=\"2\"} 1\n"));
}

TEST_F(CallGateTest, ACallThatWaitsCanBeCancelled) {
  CallGate gate(Options(1, 100), nullptr, nullptr, probe_);
  EXPECT_TRUE(Enter(gate).ok());
  runtime::TaskGroup group(io_.At(0).get_executor());
  std::promise<void> begun;
  auto wait = [](CallGate& waited, std::promise<void>& begins) -> asio::awaitable<void> {
    begins.set_value();
    (void)co_await waited.Enter(CallKind::kUnary);
  };
  group.Spawn(wait(gate, begun));
  begun.get_future().get();
  // Returns when the call has ended; its turn would come in a second.
  const TimePoint before = Clock::now();
  asio::co_spawn(io_.At(0), group.Stop(), asio::use_future).get();
  EXPECT_LT(Clock::now() - before, std::chrono::milliseconds(900));
}

}  // namespace
}  // namespace dragonfly::daemon
