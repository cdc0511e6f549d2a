// SPDX-License-Identifier: Apache-2.0
// What callers are told: codes and texts of docs/compatibility/scheduler-errors.tsv.
#include "scheduler/service.h"
#include "telemetry/metrics.h"
#include "tests/unit/scheduler/cluster.h"

namespace dragonfly::scheduler {
namespace {

namespace api = ::scheduler::v2;
using testing::Cluster;
using testing::Conversation;
using ::testing::HasSubstr;
using ::testing::StartsWith;

TEST(Calls, StatPeerTellsPeerTaskAndHost) {
  Cluster cluster;
  const auto [missing, none] = cluster.Stat("nobody");
  EXPECT_EQ(missing.error_code(), grpc::NOT_FOUND);
  EXPECT_EQ(missing.error_message(), "peer nobody not found");

  auto talk = cluster.TalkFromNewHost("peer");
  talk->Register();
  talk->ExpectBackToSource("peer's NeedBackToSource is true");
  talk->BackToSourceStarted();
  ASSERT_TRUE(cluster.AwaitState("peer", "BackToSource"));
  const auto [status, peer] = cluster.Stat("peer");
  ASSERT_TRUE(status.ok());
  EXPECT_EQ(peer.id(), "peer");
  EXPECT_TRUE(peer.need_back_to_source());
  EXPECT_EQ(peer.task().id(), "task");
  EXPECT_EQ(peer.task().state(), "Running");
  EXPECT_EQ(peer.task().url(), "http://origin/file");
  EXPECT_TRUE(peer.task().request_header().empty());
  EXPECT_EQ(peer.host().id(), "host-peer");
  EXPECT_EQ(peer.host().os(), "linux");
  // As the original leaves them.
  EXPECT_EQ(peer.host().scheduler_cluster_id(), 0u);
}

TEST(Calls, TheTaskThatNobodyKnowsIsNotFound) {
  Cluster cluster;
  const grpc::Status status = cluster.StatTask("nothing").first;
  EXPECT_EQ(status.error_code(), grpc::NOT_FOUND);
  EXPECT_EQ(status.error_message(), "task nothing not found");
}

TEST(Calls, AMessageWithoutARequestEndsTheStream) {
  Cluster cluster;
  auto talk = cluster.TalkFromNewHost("peer");
  talk->Send(talk->Request());
  const grpc::Status status = talk->End();
  // The rule of the message is looked at first, as in the original.
  EXPECT_EQ(status.error_code(), grpc::INVALID_ARGUMENT);
  EXPECT_THAT(status.error_message(), StartsWith("invalid AnnouncePeerRequest.Request: value is required"));
}

TEST(Calls, OneStreamIsForOnePeer) {
  Cluster cluster;
  auto talk = cluster.TalkFromNewHost("peer");
  talk->Register();
  talk->ExpectBackToSource("peer's NeedBackToSource is true");
  api::AnnouncePeerRequest other = talk->Request();
  other.set_peer_id("another");
  other.mutable_download_peer_started_request();
  talk->Send(other);
  const grpc::Status status = talk->End();
  EXPECT_EQ(status.error_code(), grpc::INVALID_ARGUMENT);
  EXPECT_EQ(status.error_message(), "one stream is for one host, task and peer");
}

// Errors of pieces are logged and counted; the stream goes on.
TEST(Calls, AFailedPieceFromTheOriginIsCountedAndTheStreamGoesOn) {
  Cluster cluster;
  auto talk = cluster.TalkFromNewHost("peer");
  talk->Register();
  talk->ExpectBackToSource("peer's NeedBackToSource is true");
  talk->BackToSourceStarted();
  api::AnnouncePeerRequest failed = talk->Request();
  failed.mutable_download_piece_back_to_source_failed_request()->set_piece_number(0);
  failed.mutable_download_piece_back_to_source_failed_request()->mutable_unknown();
  talk->Send(failed);
  talk->BackToSourceFinished();
  EXPECT_TRUE(talk->End().ok());
  EXPECT_THAT(cluster.scheduler().metrics().Render(),
              HasSubstr("download_piece_back_to_source_finished_failure_total{host_type=\"normal\",task_type="
                        "\"STANDARD\",traffic_type=\"BACK_TO_SOURCE\"} 1\n"));
}

// Section 3.5 of the original's history: old clients tell lengths at the end, new ones at the beginning; absent is
// never zero.
TEST(Calls, BothGenerationsTellTheLength) {
  Cluster cluster;
  auto old = cluster.TalkFromNewHost("old", "task-old");
  old->Register(Conversation::Download(std::nullopt));
  old->ExpectBackToSource("peer's NeedBackToSource is true");
  old->BackToSourceStarted();
  old->BackToSourceFinished(40 << 20, 10);
  ASSERT_TRUE(old->End().ok());
  EXPECT_EQ(cluster.StatTask("task-old").second.content_length(), 40u << 20);

  auto recent = cluster.TalkFromNewHost("recent", "task-new");
  recent->Register(Conversation::Download(40 << 20));
  recent->ExpectBackToSource("peer's NeedBackToSource is true");
  recent->BackToSourceStarted();
  recent->BackToSourceFinished(0, 0);
  ASSERT_TRUE(recent->End().ok());
  EXPECT_EQ(cluster.StatTask("task-new").second.content_length(), 40u << 20);
  EXPECT_EQ(cluster.StatTask("task-new").second.piece_count(), 10u);
}

api::PreheatFileRequest FileRequest(const std::string& scope = "single_seed_peer") {
  api::PreheatFileRequest request;
  request.set_url("http://origin/file?sign=1");
  request.set_scope(scope);
  return request;
}

grpc::Status PreheatFile(Cluster& cluster, const api::PreheatFileRequest& request) {
  google::protobuf::Empty empty;
  return cluster.Call(&api::Scheduler::Stub::PreheatFile, request, &empty);
}

TEST(Preheating, NeedsAHost) {
  SchedulerConfig config = Cluster::Config();
  config.server.advertise_ip = "10.0.0.1";
  Cluster cluster(config);
  for (const auto& [scope, text] :
       {std::pair{"single_seed_peer", "seed peer"}, {"all_seed_peers", "seed peer"}, {"all_peers", "peer"}}) {
    const grpc::Status status = PreheatFile(cluster, FileRequest(scope));
    EXPECT_EQ(status.error_code(), grpc::FAILED_PRECONDITION) << scope;
    EXPECT_EQ(status.error_message(), std::string("cluster 1 scheduler 10.0.0.1 has no available ") + text);
  }
  EXPECT_THAT(cluster.scheduler().metrics().Render(), HasSubstr("dragonfly_scheduler_preheat_file_failure_total 3\n"));
}

TEST(Preheating, AsksTheSeedForWhatWasAskedFor) {
  Cluster cluster;
  testing::FakeSeed seed;
  ASSERT_TRUE(cluster.AnnounceSeed("seed", seed).ok());
  api::PreheatFileRequest request = FileRequest();
  request.set_piece_length(8 << 20);
  request.set_tag("t");
  request.set_application("a");
  request.add_filtered_query_params("sign");
  (*request.mutable_header())["Authorization"] = "secret";
  request.set_priority(common::v2::LEVEL5);
  request.mutable_timeout()->set_seconds(100);
  ASSERT_TRUE(PreheatFile(cluster, request).ok());
  const common::v2::Download download = seed.AwaitRequests(1).front();
  seed.Release(grpc::Status::OK);
  EXPECT_EQ(download.url(), request.url());
  EXPECT_EQ(download.type(), common::v2::STANDARD);
  EXPECT_EQ(download.piece_length(), 8u << 20);
  EXPECT_EQ(download.tag(), "t");
  EXPECT_EQ(download.application(), "a");
  EXPECT_EQ(download.filtered_query_params(0), "sign");
  EXPECT_EQ(download.request_header().at("Authorization"), "secret");
  EXPECT_EQ(download.priority(), common::v2::LEVEL5);
  EXPECT_LE(download.timeout().seconds(), 100);
  EXPECT_GE(download.timeout().seconds(), 90);
  // The seed goes through its scheduler as for anybody.
  EXPECT_FALSE(download.need_back_to_source());
}

TEST(Preheating, RefusesMoreThanItCanKeepTrackOf) {
  Cluster cluster;
  testing::FakeSeed seed;
  ASSERT_TRUE(cluster.AnnounceSeed("seed", seed).ok());
  grpc::Status status;
  int taken = 0;
  for (int i = 0; i < 100 && status.ok(); ++i) {
    status = PreheatFile(cluster, FileRequest());
    if (status.ok()) ++taken;
  }
  EXPECT_EQ(taken, 64);
  EXPECT_EQ(status.error_code(), grpc::RESOURCE_EXHAUSTED);
  EXPECT_EQ(status.error_message(), "too many preheats run; try again later");
}

// The rules of API 2.2.32.
TEST(Preheating, ChecksItsRequests) {
  Cluster cluster;
  const auto text = [&](const std::function<void(api::PreheatFileRequest&)>& change) {
    api::PreheatFileRequest request = FileRequest();
    change(request);
    const grpc::Status status = PreheatFile(cluster, request);
    EXPECT_EQ(status.error_code(), grpc::INVALID_ARGUMENT) << status.error_message();
    return status.error_message();
  };
  const std::string prefix = "invalid PreheatFileRequest.";
  EXPECT_THAT(text([](auto& request) { request.set_url("file"); }), StartsWith(prefix + "Url: "));
  EXPECT_EQ(text([](auto& request) { request.set_piece_length(1); }),
            prefix + "PieceLength: value must be inside range [4194304, 67108864]");
  EXPECT_THAT(text([](auto& request) { request.set_scope(""); }), StartsWith(prefix + "Scope: "));
  EXPECT_EQ(text([](auto& request) { request.set_percentage(101); }),
            prefix + "Percentage: value must be inside range [1, 100]");
  EXPECT_EQ(text([](auto& request) { request.set_count(0); }), prefix + "Count: value must be inside range [1, 200]");
  EXPECT_EQ(text([](auto& request) { request.set_concurrent_task_count(-1); }),
            prefix + "ConcurrentTaskCount: value must be inside range [1, 100]");
  EXPECT_EQ(text([](auto& request) { request.set_concurrent_peer_count(1001); }),
            prefix + "ConcurrentPeerCount: value must be inside range [1, 1000]");
  EXPECT_EQ(text([](auto& request) { request.set_priority(static_cast<common::v2::Priority>(9)); }),
            prefix + "Priority: value must be one of the defined enum values");
  EXPECT_EQ(text([](auto& request) { request.set_url("http://origin/dir/"); }),
            "the URL is that of a directory: only files are preheated");
}

}  // namespace
}  // namespace dragonfly::scheduler
