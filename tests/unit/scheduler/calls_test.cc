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

}  // namespace
}  // namespace dragonfly::scheduler
