// SPDX-License-Identifier: Apache-2.0
// Traces and metrics of calls of a scheduler, over real gRPC.
#include <grpcpp/generic/generic_stub.h>

#include <algorithm>
#include <set>

#include "absl/strings/ascii.h"
#include "base/text.h"
#include "dragonfly/ext/v1/jobs.grpc.pb.h"
#include "telemetry/metrics.h"
#include "tests/support/otlp_collector.h"
#include "tests/support/temp_dir.h"
#include "tests/unit/scheduler/cluster.h"
#include "tests/unit/scheduler/fake_manager.h"

namespace dragonfly::scheduler {
namespace {

namespace api = ::scheduler::v2;
using dragonfly::testing::OtlpCollector;
using testing::Cluster;
using testing::Conversation;
using testing::FakeManager;
using testing::FakeSeed;
using ::testing::HasSubstr;
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

// "StatTask" to "stat_task".
std::string SpanNameOf(const std::string& method) {
  std::string name;
  for (const char c : method) {
    const auto byte = static_cast<unsigned char>(c);
    if (absl::ascii_isupper(byte) && !name.empty()) name += '_';
    name += absl::ascii_tolower(byte);
  }
  return name;
}

// Calls the method with an empty message and lets the call end as it will.
void CallEmpty(const std::shared_ptr<grpc::Channel>& channel, const std::string& path) {
  grpc::GenericStub stub(channel);
  grpc::CompletionQueue queue;
  const auto next = [&queue] {
    void* tag = nullptr;
    bool ok = false;
    return queue.Next(&tag, &ok) && ok;
  };
  grpc::ClientContext context;
  context.set_deadline(std::chrono::system_clock::now() + testing::kPatience);
  const auto call = stub.PrepareCall(&context, path, &queue);
  call->StartCall(nullptr);
  next();
  const grpc::Slice nothing;
  call->WriteLast(grpc::ByteBuffer(&nothing, 1), grpc::WriteOptions(), nullptr);
  bool more = next();
  while (more) {
    grpc::ByteBuffer answer;
    call->Read(&answer, nullptr);
    more = next();
  }
  grpc::Status status;
  call->Finish(&status, nullptr);
  next();
  queue.Shutdown();
  next();
}

TEST(Traces, EachCallHasASpanOfItsName) {
  OtlpCollector collector;
  SchedulerConfig config = Cluster::Config();
  config.tracing.protocol = "grpc";
  config.tracing.endpoint = collector.endpoint();
  std::vector<std::string> names;
  {
    Cluster cluster(config);
    const auto channel = grpc::CreateChannel("127.0.0.1:" + std::to_string(cluster.scheduler().port()),
                                             grpc::InsecureChannelCredentials());
    const auto* const service =
        google::protobuf::DescriptorPool::generated_pool()->FindServiceByName("scheduler.v2.Scheduler");
    ASSERT_NE(service, nullptr);
    for (int i = 0; i < service->method_count(); ++i) {
      CallEmpty(channel, StrCat("/scheduler.v2.Scheduler/", service->method(i)->name()));
      names.push_back(SpanNameOf(service->method(i)->name()));
    }
  }
  std::set<std::string> seen;
  for (const auto& one : collector.WaitForNames(names)) {
    if (one.span.kind() == OtlpCollector::Span::SPAN_KIND_SERVER) seen.insert(one.span.name());
  }
  EXPECT_EQ(seen, std::set<std::string>(names.begin(), names.end()));
}

TEST(Traces, CallsOfJobsHaveSpans) {
  OtlpCollector collector;
  SchedulerConfig config = Cluster::Config();
  config.tracing.protocol = "grpc";
  config.tracing.endpoint = collector.endpoint();
  {
    Cluster cluster(config);
    FakeSeed seed;
    ASSERT_TRUE(cluster.AnnounceSeed("seed", seed).ok());
    const auto stub = dragonfly::ext::v1::Jobs::NewStub(
        grpc::CreateChannel(StrCat("127.0.0.1:", cluster.scheduler().port()), grpc::InsecureChannelCredentials()));
    const std::string id(64, 'a');
    for (const auto& [name, argument] : {std::pair{"get_task", StrCat(R"({"task_id":")", id, "\"}")},
                                         {"list_task_entries", R"({"url":"s3://bucket/directory/"})"}}) {
      dragonfly::ext::v1::RunJobRequest request;
      request.set_name(name);
      request.set_argument(argument);
      dragonfly::ext::v1::RunJobResponse response;
      grpc::ClientContext context;
      context.set_deadline(std::chrono::system_clock::now() + testing::kPatience);
      // The seed knows neither call.
      (void)stub->RunJob(&context, request, &response);
    }
  }
  const std::set<std::string> names = {"stat_local_task", "list_task_entries"};
  std::set<std::string> seen;
  for (const auto& one : collector.WaitForNames({names.begin(), names.end()})) {
    if (one.span.kind() == OtlpCollector::Span::SPAN_KIND_CLIENT && names.contains(one.span.name())) {
      seen.insert(one.span.name());
    }
  }
  EXPECT_EQ(seen, names);
}

TEST(Traces, CallsToTheManagerHaveSpans) {
  OtlpCollector collector;
  FakeManager manager;
  dragonfly::testing::TempDir dir;
  SchedulerConfig config = Cluster::Config();
  config.server.host = "sched-1";
  config.server.advertise_ip = "127.0.0.1";
  config.server.cache_dir = dir.path().string();
  config.manager.addr = manager.address();
  config.manager.keep_alive_interval = absl::Milliseconds(20);
  config.dynconfig.refresh_interval = absl::Milliseconds(20);
  config.tracing.protocol = "grpc";
  config.tracing.endpoint = collector.endpoint();
  const std::vector<std::string> names = {"update_scheduler", "get_scheduler", "list_applications", "keep_alive"};
  {
    Cluster cluster(config);
    EXPECT_TRUE(manager.WaitForEvent("beat sched-1 127.0.0.1 1"));
    EXPECT_TRUE(manager.WaitForEvent("get", 2));
  }
  std::set<std::string> seen;
  for (const auto& one : collector.WaitForNames(names)) {
    if (one.span.kind() == OtlpCollector::Span::SPAN_KIND_CLIENT) seen.insert(one.span.name());
  }
  EXPECT_EQ(seen, std::set<std::string>(names.begin(), names.end()));
}

TEST(CallMetrics, CallsAreCountedByServiceMethodAndCode) {
  FakeManager manager;
  dragonfly::testing::TempDir dir;
  SchedulerConfig config = Cluster::Config();
  config.server.host = "sched-1";
  config.server.advertise_ip = "127.0.0.1";
  config.server.cache_dir = dir.path().string();
  config.manager.addr = manager.address();
  config.metrics.enable = true;
  config.metrics.addr = "127.0.0.1:0";
  Cluster cluster(config);
  ASSERT_TRUE(cluster.Announce(MakeHost("host")).ok());
  EXPECT_EQ(cluster.StatTask("nothing").first.error_code(), grpc::NOT_FOUND);
  const auto labels = [](std::string_view method, std::string_view type) {
    return StrCat("{grpc_method=\"", method, "\",grpc_service=\"scheduler.v2.Scheduler\",grpc_type=\"", type, "\"} ");
  };
  std::string page;
  const auto await = [&](const std::string& line) {
    const auto deadline = Clock::now() + testing::kPatience;
    do {
      page = cluster.scheduler().metrics().Render();
      if (page.find(line) != std::string::npos) return true;
      std::this_thread::yield();
    } while (Clock::now() < deadline);
    return false;
  };
  const auto peer = cluster.Talk("host", "peer");
  peer->Register();
  EXPECT_TRUE(await(StrCat("grpc_server_msg_received_total", labels("AnnouncePeer", "bidi_stream"), "1\n")));
  peer->Cancel();
  EXPECT_TRUE(manager.WaitForEvent("get"));
  // The end of a stream is seen by the scheduler a little after its client.
  EXPECT_TRUE(
      await("grpc_server_handled_total{grpc_code=\"Canceled\",grpc_method=\"AnnouncePeer\","
            "grpc_service=\"scheduler.v2.Scheduler\",grpc_type=\"bidi_stream\"} 1"));
  EXPECT_THAT(page, HasSubstr(StrCat("grpc_server_started_total", labels("AnnounceHost", "unary"), "1\n")));
  EXPECT_THAT(page, HasSubstr(StrCat("grpc_server_msg_received_total", labels("AnnounceHost", "unary"), "1\n")));
  EXPECT_THAT(page, HasSubstr(StrCat("grpc_server_msg_sent_total", labels("AnnounceHost", "unary"), "1\n")));
  EXPECT_THAT(page, HasSubstr(StrCat("grpc_server_msg_received_total", labels("AnnouncePeer", "bidi_stream"), "1\n")));
  EXPECT_THAT(page, HasSubstr("grpc_server_handled_total{grpc_code=\"OK\",grpc_method=\"AnnounceHost\","));
  EXPECT_THAT(page, HasSubstr("grpc_server_handled_total{grpc_code=\"NotFound\",grpc_method=\"StatTask\","));
  EXPECT_THAT(page, HasSubstr("grpc_client_started_total{grpc_method=\"UpdateScheduler\","
                              "grpc_service=\"manager.v2.Manager\",grpc_type=\"unary\"} 1\n"));
  EXPECT_THAT(page, HasSubstr("grpc_client_handled_total{grpc_code=\"OK\",grpc_method=\"UpdateScheduler\","));
}

}  // namespace
}  // namespace dragonfly::scheduler
