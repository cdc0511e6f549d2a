// SPDX-License-Identifier: Apache-2.0
// Traces of a scheduler, over real gRPC.
#include <algorithm>

#include "base/text.h"
#include "tests/support/otlp_collector.h"
#include "tests/unit/scheduler/cluster.h"

namespace dragonfly::scheduler {
namespace {

namespace api = ::scheduler::v2;
using dragonfly::testing::OtlpCollector;
using testing::Cluster;
using testing::Conversation;
using testing::FakeSeed;
using testing::MakeHost;

constexpr char kTrace[] = "0af7651916cd43dd8448eb211c80319c";
constexpr char kCaller[] = "b7ad6b7169203331";

std::string Hex(const std::string& bytes) {
  constexpr std::string_view kDigits = "0123456789abcdef";
  std::string text;
  for (const char c : bytes) {
    const auto byte = static_cast<unsigned char>(c);
    text += kDigits[byte >> 4];
    text += kDigits[byte & 15];
  }
  return text;
}

TEST(Traces, OneGoesFromThePeerThroughTheSchedulerToTheSeed) {
  OtlpCollector collector;
  FakeSeed seed;
  SchedulerConfig config = Cluster::Config();
  config.tracing.protocol = "grpc";
  config.tracing.endpoint = collector.endpoint();
  config.tracing.headers = {{"token", "t"}};
  config.server.host = "sched-1";
  config.server.advertise_ip = "10.0.0.1";
  {
    Cluster cluster(config);
    ASSERT_TRUE(cluster.AnnounceSeed("seed", seed).ok());
    ASSERT_TRUE(cluster.Announce(MakeHost("host")).ok());
    EXPECT_TRUE(cluster.StatTask("nothing").first.error_code() == grpc::NOT_FOUND);
    grpc::ClientContext context;
    context.AddMetadata("traceparent", StrCat("00-", kTrace, "-", kCaller, "-01"));
    context.set_deadline(std::chrono::system_clock::now() + testing::kPatience);
    auto stream = cluster.stub().AnnouncePeer(&context);
    api::AnnouncePeerRequest request;
    request.set_host_id("host");
    request.set_task_id("task");
    request.set_peer_id("peer");
    *request.mutable_register_peer_request()->mutable_download() = Conversation::Download();
    ASSERT_TRUE(stream->Write(request));
    EXPECT_EQ(seed.AwaitRequests(1).size(), 1u);
    seed.Release(grpc::Status::OK);
    context.TryCancel();
    stream->Finish();
  }
  const auto spans = collector.WaitForNames({"announce_host", "announce_peer", "stat_task", "download_task"});
  const auto find = [&](const std::string& name) {
    const auto found = std::ranges::find_if(spans, [&](const auto& one) { return one.span.name() == name; });
    EXPECT_NE(found, spans.end()) << name;
    return found == spans.end() ? OtlpCollector::Received() : *found;
  };
  const auto announce = find("announce_peer");
  EXPECT_EQ(Hex(announce.span.trace_id()), kTrace);
  EXPECT_EQ(Hex(announce.span.parent_span_id()), kCaller);
  EXPECT_EQ(announce.span.kind(), OtlpCollector::Span::SPAN_KIND_SERVER);
  EXPECT_EQ(announce.Attribute("host_id"), "host");
  EXPECT_EQ(announce.Attribute("task_id"), "task");
  EXPECT_EQ(announce.Attribute("peer_id"), "peer");
  const auto asked = find("download_task");
  EXPECT_EQ(asked.span.kind(), OtlpCollector::Span::SPAN_KIND_CLIENT);
  EXPECT_EQ(Hex(asked.span.trace_id()), kTrace);
  EXPECT_EQ(asked.span.parent_span_id(), announce.span.span_id());
  EXPECT_EQ(find("stat_task").span.status().message(), "task nothing not found");
  EXPECT_EQ(announce.resource.at("service.name"), "scheduler");
  EXPECT_EQ(announce.resource.at("service.namespace"), "dragonfly");
  EXPECT_EQ(announce.resource.at("host.name"), "sched-1");
  EXPECT_EQ(announce.resource.at("host.ip"), "10.0.0.1");
  const auto metadata = collector.metadata();
  const auto token = metadata.find("token");
  EXPECT_TRUE(token != metadata.end() && token->second == "t");
  // The headers that peers send to origins are secrets.
  for (const auto& one : spans) EXPECT_EQ(one.span.ShortDebugString().find("secret"), std::string::npos);
}

}  // namespace
}  // namespace dragonfly::scheduler
