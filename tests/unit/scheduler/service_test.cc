// SPDX-License-Identifier: Apache-2.0
// The scheduler over real gRPC.
#include <array>
#include <boost/asio/post.hpp>
#include <future>

#include "rpc/more_parents.h"
#include "tests/unit/scheduler/cluster.h"

namespace dragonfly::scheduler {
namespace {

using namespace std::chrono_literals;
using testing::Cluster;
using testing::Conversation;
using testing::FakeSeed;
using ::testing::HasSubstr;
using testing::MakeHost;
using ::testing::UnorderedElementsAre;
namespace api = testing::api;

// A peer that has read everything from the origin.
void Complete(Cluster& cluster, const std::string& peer) {
  auto talk = cluster.TalkFromNewHost(peer);
  common::v2::Download download = Conversation::Download();
  download.set_need_back_to_source(true);
  talk->Register(download);
  talk->ExpectBackToSource("peer's NeedBackToSource is true");
  talk->BackToSourceStarted();
  for (uint32_t i = 0; i < 10; ++i) talk->PieceFromSource(i);
  talk->BackToSourceFinished();
  EXPECT_TRUE(talk->End().ok());
}

TEST(AnnouncePeer, FromAnUnknownHostIsNotFound) {
  Cluster cluster;
  auto talk = cluster.Talk("nobody", "peer");
  talk->Register();
  const grpc::Status status = talk->End();
  EXPECT_EQ(status.error_code(), grpc::NOT_FOUND);
  EXPECT_EQ(status.error_message(), "host nobody not found");
}

TEST(AnnouncePeer, SendsHeadersBeforeItHasAnAnswer) {
  Cluster cluster;
  auto talk = cluster.Talk("nobody", "peer");
  talk->AwaitHeaders();
  talk->WritesDone();
  EXPECT_TRUE(talk->End().ok());
}

TEST(AnnouncePeer, GivesParentsThatAGoSchedulerWouldTakeBack) {
  Cluster cluster;
  Complete(cluster, "parent");
  auto child = cluster.TalkFromNewHost("child");
  child->Register();
  const api::NormalTaskResponse parents = child->Parents();
  ASSERT_EQ(parents.candidate_parents_size(), 1);
  const common::v2::Peer& parent = parents.candidate_parents(0);
  EXPECT_EQ(parent.id(), "parent");
  EXPECT_EQ(parent.state(), "Succeeded");
  EXPECT_EQ(parent.host().id(), "host-parent");
  EXPECT_EQ(parent.host().ip(), "127.0.0.1");
  EXPECT_EQ(parent.host().port(), 4000);
  EXPECT_EQ(parent.host().scheduler_cluster_id(), 0u);
  EXPECT_EQ(parent.task().content_length(), 40u << 20);
  EXPECT_EQ(parent.task().piece_count(), 10u);
  EXPECT_EQ(parent.task().url(), "http://origin/file");
  EXPECT_TRUE(parent.task().request_header().empty()) << "credentials stay here";
  for (const bool set : {parent.has_cost(), parent.has_created_at(), parent.has_updated_at(),
                         parent.task().has_created_at(), parent.task().has_updated_at()}) {
    EXPECT_TRUE(set);
  }
  // The same rules are applied to what comes back.
  child->Started();
  child->Reschedule(parents);
  child->ExpectBackToSource("scheduling exceeded RetryBackToSourceLimit");
}

TEST(AnnouncePeer, RescheduleNeverReturnsATriedParent) {
  Cluster cluster;
  Complete(cluster, "first");
  auto child = cluster.TalkFromNewHost("child");
  child->Register();
  const api::NormalTaskResponse tried = child->Parents();
  EXPECT_EQ(tried.candidate_parents(0).id(), "first");
  child->Started();
  Complete(cluster, "second");
  child->Reschedule(tried);
  const api::NormalTaskResponse next = child->Parents();
  ASSERT_EQ(next.candidate_parents_size(), 1);
  EXPECT_EQ(next.candidate_parents(0).id(), "second");
}

TEST(AnnouncePeer, GivesParentsUnaskedOnlyToWhoSaysThatItTakesThem) {
  Cluster cluster;
  Complete(cluster, "parent");
  auto talk = [&](const std::string& name, bool takes_more) {
    auto peer = cluster.TalkFromNewHost(name);
    api::AnnouncePeerRequest request = peer->Request();
    *request.mutable_register_peer_request()->mutable_download() = Conversation::Download();
    if (takes_more) rpc::SetTakesMoreParents(*request.mutable_register_peer_request());
    peer->Send(request);
    EXPECT_FALSE(rpc::IsMore(peer->Parents()));
    peer->Started();
    EXPECT_TRUE(cluster.AwaitState(name, "Running"));
    EXPECT_TRUE(cluster.TellPiece(*peer, 0, "parent"));
    return peer;
  };
  auto plain = talk("plain", false);
  auto wide = talk("wide", true);
  // It gets both as parents; they are told of it as far as they take it.
  auto late = talk("late", true);
  const api::NormalTaskResponse more = wide->Parents();
  EXPECT_TRUE(rpc::IsMore(more));
  ASSERT_EQ(more.candidate_parents_size(), 1);
  EXPECT_EQ(more.candidate_parents(0).id(), "late");
  EXPECT_EQ(more.candidate_parents(0).host().ip(), "127.0.0.1");
  plain->Finished();
  EXPECT_TRUE(plain->End().ok()) << "nothing came between";
}

TEST(AnnouncePeer, EveryTerminalMessageEndsTheStreamWithOk) {
  Cluster cluster;
  Complete(cluster, "parent");
  using Last = void (*)(Conversation&);
  struct Row {
    Last last;
    const char* state;
  };
  int number = 0;
  for (const Row& row : std::array<Row, 4>{{
           {[](Conversation& talk) { talk.Finished(); }, "Succeeded"},
           {[](Conversation& talk) { talk.Failed(); }, "Failed"},
           {[](Conversation& talk) { talk.BackToSourceStarted(), talk.BackToSourceFinished(); }, "Succeeded"},
           {[](Conversation& talk) { talk.BackToSourceStarted(), talk.BackToSourceFailed(); }, "Failed"},
       }}) {
    auto talk = cluster.TalkFromNewHost("peer-" + std::to_string(number++));
    talk->Register();
    talk->Parents();
    talk->Started();
    row.last(*talk);
    EXPECT_TRUE(talk->End().ok());
    EXPECT_EQ(cluster.Stat(talk->peer()).second.state(), row.state);
  }
}

TEST(AnnouncePeer, AnswersEmptyOnlyWhenThePeerSaysSo) {
  Cluster cluster;
  auto empty = cluster.TalkFromNewHost("empty", "empty-task");
  empty->Register(Conversation::Download(0));
  const auto answer = empty->Answer();
  ASSERT_TRUE(answer.has_value());
  EXPECT_TRUE(answer->has_empty_task_response());
  empty->Started();
  empty->Finished();
  EXPECT_TRUE(empty->End().ok());

  auto silent = cluster.TalkFromNewHost("silent", "silent-task");
  silent->Register(Conversation::Download(std::nullopt));
  silent->ExpectBackToSource("peer's NeedBackToSource is true");
}

TEST(AnnouncePeer, ChildrenWithoutALengthWaitForItUnlessTheyFindItOut) {
  Cluster cluster;
  auto first = cluster.TalkFromNewHost("first");
  first->Register(Conversation::Download(std::nullopt));
  first->ExpectBackToSource("peer's NeedBackToSource is true");
  first->BackToSourceStarted();
  // A Rust client asks the origin itself and can follow at once.
  common::v2::Host rust = MakeHost("rust-host");
  rust.mutable_build()->set_rust_version("1.82");
  ASSERT_TRUE(cluster.Announce(rust).ok());
  auto rust_child = cluster.Talk("rust-host", "rust-child");
  rust_child->Register(Conversation::Download(std::nullopt));
  EXPECT_EQ(rust_child->Parents().candidate_parents_size(), 1);
  // Ours waits until the length is there.
  auto child = cluster.TalkFromNewHost("child");
  child->Register(Conversation::Download(std::nullopt));
  ASSERT_TRUE(cluster.AwaitState("child", "ReceivedNormal"));
  first->BackToSourceFinished(41 << 20, 11);
  const api::NormalTaskResponse parents = child->Parents();
  EXPECT_EQ(parents.candidate_parents(0).task().content_length(), 41u << 20);
}

TEST(SeedTrigger, AsksTheSeedForThePeersDownloadWithoutItsPrivateParts) {
  Cluster cluster;
  FakeSeed seed;
  ASSERT_TRUE(cluster.AnnounceSeed("seed", seed).ok());
  auto peer = cluster.TalkFromNewHost("peer");
  common::v2::Download download = Conversation::Download();
  download.set_need_piece_content(true);
  peer->Register(download);
  const auto requests = seed.AwaitRequests(1);
  EXPECT_TRUE(requests[0].need_back_to_source());
  EXPECT_FALSE(requests[0].has_output_path());
  EXPECT_FALSE(requests[0].need_piece_content());
  EXPECT_EQ(requests[0].request_header().at("Authorization"), "secret");
  // The seed registers as any peer does, and the waiting one gets it at once.
  auto seed_peer = cluster.Talk("seed", "seed-peer");
  seed_peer->Register(requests[0]);
  seed_peer->ExpectBackToSource("peer's NeedBackToSource is true");
  seed_peer->BackToSourceStarted();
  EXPECT_EQ(peer->Parents().candidate_parents(0).id(), "seed-peer");
}

TEST(SeedTrigger, FailureSendsOneWaiterToTheOriginAtOnce) {
  Cluster cluster;
  FakeSeed seed;
  ASSERT_TRUE(cluster.AnnounceSeed("seed", seed).ok());
  auto peer = cluster.TalkFromNewHost("peer");
  peer->Register();
  seed.AwaitRequests(1);
  const auto failed_at = Clock::now();
  seed.Release(grpc::Status(grpc::INTERNAL, "no origin"));
  peer->ExpectBackToSource("scheduling exceeded RetryBackToSourceLimit");
  EXPECT_LT(Clock::now() - failed_at, 1900ms) << "not by the clock";
}

TEST(SeedTrigger, UnreachableSeedSendsOneWaiterToTheOrigin) {
  Cluster cluster;
  int port = 0;
  {
    FakeSeed gone;
    port = gone.port();
  }
  ASSERT_TRUE(cluster.Announce(MakeHost("seed", port, 1)).ok());
  auto peer = cluster.TalkFromNewHost("peer");
  peer->Register();
  peer->ExpectBackToSource("scheduling exceeded RetryBackToSourceLimit");
}

TEST(SeedTrigger, ASeedThatHasEverythingServesWithoutRegistering) {
  Cluster cluster;
  FakeSeed seed;
  ASSERT_TRUE(cluster.AnnounceSeed("seed", seed).ok());
  dfdaemon::v2::DownloadTaskResponse news;
  news.set_host_id("seed");
  news.set_task_id("task");
  news.set_peer_id("seed-peer");
  news.mutable_download_task_started_response()->set_content_length(40 << 20);
  news.mutable_download_task_started_response()->set_is_finished(true);
  seed.Tell(news);
  seed.Release(grpc::Status::OK);
  auto peer = cluster.TalkFromNewHost("peer");
  peer->Register(Conversation::Download(std::nullopt));
  const api::NormalTaskResponse parents = peer->Parents();
  ASSERT_EQ(parents.candidate_parents_size(), 1);
  EXPECT_EQ(parents.candidate_parents(0).id(), "seed-peer");
  EXPECT_EQ(parents.candidate_parents(0).host().id(), "seed");
}

TEST(SeedTrigger, SixtyFourPeersAtOnceAskOneSeedAndReadOneOrigin) {
  Cluster cluster;
  FakeSeed seed;
  ASSERT_TRUE(cluster.AnnounceSeed("seed", seed).ok());
  std::vector<std::unique_ptr<Conversation>> peers;
  for (int i = 0; i < 64; ++i) peers.push_back(cluster.TalkFromNewHost("peer-" + std::to_string(i)));
  for (auto& peer : peers) peer->Register();
  const auto requests = seed.AwaitRequests(1);
  for (auto& peer : peers) ASSERT_TRUE(cluster.AwaitState(peer->peer(), "ReceivedNormal"));
  auto seed_peer = cluster.Talk("seed", "seed-peer");
  seed_peer->Register(requests[0]);
  seed_peer->ExpectBackToSource("peer's NeedBackToSource is true");
  seed_peer->BackToSourceStarted();
  for (auto& peer : peers) EXPECT_GE(peer->Parents().candidate_parents_size(), 1);
  EXPECT_EQ(seed.requests(), 1u);
}

TEST(SeedTrigger, WhenTheSeedDiesHalfWayOnePeerReadsTheRestForAll) {
  Cluster cluster;
  FakeSeed seed;
  ASSERT_TRUE(cluster.AnnounceSeed("seed", seed).ok());
  std::vector<std::unique_ptr<Conversation>> peers;
  for (int i = 0; i < 8; ++i) peers.push_back(cluster.TalkFromNewHost("peer-" + std::to_string(i)));
  for (auto& peer : peers) peer->Register();
  const auto requests = seed.AwaitRequests(1);
  auto seed_peer = cluster.Talk("seed", "seed-peer");
  seed_peer->Register(requests[0]);
  seed_peer->ExpectBackToSource("peer's NeedBackToSource is true");
  seed_peer->BackToSourceStarted();
  for (uint32_t i = 0; i < 5; ++i) seed_peer->PieceFromSource(i);
  std::vector<api::NormalTaskResponse> parents;
  // As long as nobody has begun, all get the seed.
  for (auto& peer : peers) parents.push_back(peer->Parents());
  for (auto& peer : peers) {
    peer->Started();
    peer->PieceFromParent(0, "seed-peer");
  }
  peers[5]->PieceFromParent(1, "seed-peer");
  for (auto& peer : peers) ASSERT_TRUE(cluster.AwaitState(peer->peer(), "Running"));
  api::DeleteHostRequest leaves;
  leaves.set_host_id("seed");
  google::protobuf::Empty empty;
  ASSERT_TRUE(cluster.Call(&api::Scheduler::Stub::DeleteHost, leaves, &empty).ok());
  peers[5]->Reschedule(parents[5]);
  for (size_t i = 0; i < peers.size(); ++i) {
    if (i != 5) peers[i]->Reschedule(parents[i]);
  }
  peers[5]->ExpectBackToSource("scheduling exceeded RetryBackToSourceLimit");
  peers[5]->BackToSourceStarted();
  for (size_t i = 0; i < peers.size(); ++i) {
    if (i == 5) continue;
    const api::NormalTaskResponse next = peers[i]->Parents();
    for (const auto& parent : next.candidate_parents()) EXPECT_NE(parent.id(), "seed-peer");
  }
}

TEST(BrokenStream, FailsThePeerAfterTheGrace) {
  Cluster cluster(Cluster::QuickConfig());
  Complete(cluster, "parent");
  auto peer = cluster.TalkFromNewHost("peer");
  peer->Register();
  peer->Parents();
  peer->Started();
  ASSERT_TRUE(cluster.AwaitState("peer", "Running"));
  peer->Cancel();
  // Failed, and then collected.
  const auto deadline = Clock::now() + testing::kPatience;
  while (cluster.Stat("peer").first.ok() && Clock::now() < deadline) std::this_thread::yield();
  EXPECT_EQ(cluster.Stat("peer").first.error_code(), grpc::NOT_FOUND);
}

TEST(BrokenStream, ThePeerMayRegisterAgainAndGetsItsAnswerThere) {
  Cluster cluster;
  FakeSeed seed;
  ASSERT_TRUE(cluster.AnnounceSeed("seed", seed).ok());
  auto old_stream = cluster.TalkFromNewHost("peer");
  old_stream->Register();
  ASSERT_TRUE(cluster.AwaitState("peer", "ReceivedNormal"));
  auto new_stream = cluster.Talk("host-peer", "peer");
  new_stream->Register();
  const grpc::Status replaced = old_stream->End();
  EXPECT_EQ(replaced.error_code(), grpc::ABORTED);
  Complete(cluster, "parent");
  EXPECT_EQ(new_stream->Parents().candidate_parents(0).id(), "parent");
}

TEST(PieceReports, WithImpossibleNumbersAreIgnored) {
  Cluster cluster;
  auto peer = cluster.TalkFromNewHost("peer");
  peer->Register();
  peer->ExpectBackToSource("peer's NeedBackToSource is true");
  peer->BackToSourceStarted();
  for (const uint32_t number : {10u, 1u << 24, 0x7fffffffu, 0xffffffffu}) peer->PieceFromSource(number);
  peer->PieceFromSource(3);
  peer->BackToSourceFinished();
  EXPECT_TRUE(peer->End().ok()) << "piece reports never end a stream";
}

struct InvalidRow {
  void (*change)(api::AnnouncePeerRequest&);
  const char* text;
};

TEST(Validation, EndsTheStreamWithTheTextsOfTheReference) {
  Cluster cluster;
  for (const InvalidRow& row : std::vector<InvalidRow>{
           {[](auto& r) { r.clear_host_id(); },
            "invalid AnnouncePeerRequest.HostId: value length must be at least 1 runes"},
           {[](auto& r) { r.clear_task_id(); },
            "invalid AnnouncePeerRequest.TaskId: value length must be at least 1 runes"},
           {[](auto& r) { r.set_peer_id(std::string(513, 'x')); },
            "invalid AnnouncePeerRequest.PeerId: value length must be at most 512 bytes"},
           {[](auto& r) { r.clear_request(); }, "invalid AnnouncePeerRequest.Request: value is required"},
           {[](auto& r) { r.mutable_register_peer_request()->clear_download(); },
            "invalid AnnouncePeerRequest.RegisterPeerRequest: embedded message failed validation | caused by: invalid "
            "RegisterPeerRequest.Download: value is required"},
           {[](auto& r) { r.mutable_register_peer_request()->mutable_download()->set_url("no-scheme"); },
            "invalid AnnouncePeerRequest.RegisterPeerRequest: embedded message failed validation | caused by: invalid "
            "RegisterPeerRequest.Download: embedded message failed validation | caused by: invalid Download.Url: value "
            "must be absolute"},
           {[](auto& r) { r.mutable_register_peer_request()->mutable_download()->set_piece_length(1); },
            "invalid AnnouncePeerRequest.RegisterPeerRequest: embedded message failed validation | caused by: invalid "
            "RegisterPeerRequest.Download: embedded message failed validation | caused by: invalid "
            "Download.PieceLength: value must be greater than or equal to 4194304"},
           {[](auto& r) { r.mutable_download_piece_finished_request(); },
            "invalid AnnouncePeerRequest.DownloadPieceFinishedRequest: embedded message failed validation | caused by: "
            "invalid DownloadPieceFinishedRequest.Piece: value is required"},
           {[](auto& r) { r.mutable_download_piece_back_to_source_failed_request(); },
            "invalid AnnouncePeerRequest.DownloadPieceBackToSourceFailedRequest: embedded message failed validation | "
            "caused by: invalid DownloadPieceBackToSourceFailedRequest.Response: value is required"},
           {[](auto& r) { r.mutable_download_piece_failed_request(); },
            "invalid AnnouncePeerRequest.DownloadPieceFailedRequest: embedded message failed validation | caused by: "
            "invalid DownloadPieceFailedRequest.ParentId: value length must be at least 1 runes"},
           {[](auto& r) { r.mutable_reschedule_peer_request()->add_candidate_parents()->set_id("p"); },
            "invalid AnnouncePeerRequest.ReschedulePeerRequest: embedded message failed validation | caused by: "
            "invalid "
            "ReschedulePeerRequest.CandidateParents[0]: embedded message failed validation | caused by: invalid "
            "Peer.Cost: value is required"},
       }) {
    auto talk = cluster.TalkFromNewHost("peer");
    api::AnnouncePeerRequest request = talk->Request();
    *request.mutable_register_peer_request()->mutable_download() = Conversation::Download();
    row.change(request);
    talk->Send(request);
    const grpc::Status status = talk->End();
    EXPECT_EQ(status.error_code(), grpc::INVALID_ARGUMENT) << row.text;
    EXPECT_EQ(status.error_message(), row.text);
  }
}

TEST(Validation, OfHosts) {
  Cluster cluster;
  const auto text = [&](const common::v2::Host& host) { return cluster.Announce(host).error_message(); };
  const std::string prefix =
      "invalid AnnounceHostRequest.Host: embedded message failed validation | caused by: invalid Host.";
  common::v2::Host host = MakeHost("h");
  EXPECT_EQ(text(host), "");
  host.set_port(1023);
  EXPECT_EQ(text(host), prefix + "Port: value must be inside range [1024, 65535)");
  host.set_port(65535);
  EXPECT_EQ(text(host), prefix + "Port: value must be inside range [1024, 65535)");
  host = MakeHost("h");
  host.set_ip("localhost");
  EXPECT_EQ(text(host), prefix + "Ip: value must be a valid IP address");
  host = MakeHost("h", 4000, 4);
  EXPECT_EQ(text(host), prefix + "Type: value must be less than or equal to 3");
  host = MakeHost("h");
  host.mutable_memory()->set_used_percent(101);
  EXPECT_EQ(text(host), prefix +
                            "Memory: embedded message failed validation | caused by: invalid Memory.UsedPercent: "
                            "value must be inside range [0, 100]");
}

TEST(Digests, InEveryAcceptedFormAreTakenAndOthersRefused) {
  Cluster cluster;
  const auto end = [&](const std::string& digest) {
    auto talk = cluster.TalkFromNewHost("peer");
    common::v2::Download download = Conversation::Download();
    download.set_digest(digest);
    talk->Register(download);
    if (talk->Answer().has_value()) return grpc::Status::OK;
    return talk->End();
  };
  for (const std::string& good : {std::string("sha256:") + std::string(64, 'a'), std::string("crc32:1475635037"),
                                  std::string("md5:") + std::string(32, '0'), std::string()}) {
    EXPECT_TRUE(end(good).ok()) << good;
  }
  for (const std::string& bad : {std::string("sha256:12"), std::string("crc32:"), std::string("whirl:00")}) {
    const grpc::Status status = end(bad);
    EXPECT_EQ(status.error_code(), grpc::INVALID_ARGUMENT) << bad;
    EXPECT_THAT(status.error_message(), HasSubstr("invalid Download.Digest: value does not match regex pattern"));
  }
}

TEST(Unary, StatTaskTellsWhatIsKnownAndNoHeaders) {
  Cluster cluster;
  EXPECT_EQ(cluster.StatTask().first.error_message(), "task task not found");
  EXPECT_EQ(cluster.StatTask().first.error_code(), grpc::NOT_FOUND);
  Complete(cluster, "peer");
  const auto [status, task] = cluster.StatTask();
  ASSERT_TRUE(status.ok());
  EXPECT_EQ(task.state(), "Succeeded");
  EXPECT_EQ(task.content_length(), 40u << 20);
  EXPECT_EQ(task.piece_count(), 10u);
  EXPECT_EQ(task.size_scope(), common::v2::NORMAL);
  EXPECT_EQ(task.peer_count(), 1u);
  EXPECT_TRUE(task.request_header().empty());
}

TEST(Unary, StatTaskSaysUnknownAsTheReferenceDoes) {
  Cluster cluster;
  auto peer = cluster.TalkFromNewHost("peer");
  peer->Register(Conversation::Download(std::nullopt));
  peer->ExpectBackToSource("peer's NeedBackToSource is true");
  const auto [status, task] = cluster.StatTask();
  EXPECT_EQ(task.content_length(), ~uint64_t{0});
  EXPECT_EQ(task.size_scope(), common::v2::UNKNOW);
}

TEST(Unary, DeleteTaskRemovesThePeersOfTheHost) {
  Cluster cluster;
  Complete(cluster, "a");
  Complete(cluster, "b");
  api::DeleteTaskRequest request;
  request.set_host_id("nobody");
  request.set_task_id("task");
  google::protobuf::Empty empty;
  grpc::Status status = cluster.Call(&api::Scheduler::Stub::DeleteTask, request, &empty);
  EXPECT_EQ(status.error_code(), grpc::NOT_FOUND);
  EXPECT_EQ(status.error_message(), "host nobody not found");
  request.set_host_id("host-a");
  EXPECT_TRUE(cluster.Call(&api::Scheduler::Stub::DeleteTask, request, &empty).ok());
  EXPECT_EQ(cluster.Stat("a").first.error_code(), grpc::NOT_FOUND);
  EXPECT_TRUE(cluster.Stat("b").first.ok());
}

TEST(Unary, DeletePeer) {
  Cluster cluster;
  Complete(cluster, "a");
  api::DeletePeerRequest request;
  request.set_host_id("host-a");
  request.set_task_id("task");
  request.set_peer_id("a");
  google::protobuf::Empty empty;
  EXPECT_TRUE(cluster.Call(&api::Scheduler::Stub::DeletePeer, request, &empty).ok());
  const grpc::Status again = cluster.Call(&api::Scheduler::Stub::DeletePeer, request, &empty);
  EXPECT_EQ(again.error_code(), grpc::NOT_FOUND);
  EXPECT_EQ(again.error_message(), "peer a not found");
}

TEST(Unary, ListHostsByType) {
  Cluster cluster;
  ASSERT_TRUE(cluster.Announce(MakeHost("normal")).ok());
  ASSERT_TRUE(cluster.Announce(MakeHost("super", 4000, 1)).ok());
  const auto list = [&](std::optional<uint32_t> type) {
    api::ListHostsRequest request;
    if (type.has_value()) request.set_type(*type);
    api::ListHostsResponse response;
    EXPECT_TRUE(cluster.Call(&api::Scheduler::Stub::ListHosts, request, &response).ok());
    std::vector<std::string> ids;
    for (const common::v2::Host& host : response.hosts()) ids.push_back(host.id());
    return ids;
  };
  EXPECT_THAT(list(std::nullopt), UnorderedElementsAre("normal", "super"));
  EXPECT_THAT(list(0), UnorderedElementsAre("normal"));
  EXPECT_THAT(list(1), UnorderedElementsAre("super"));
}

TEST(Unary, ListHostsKeepsNoShardBusy) {
  Cluster cluster;
  ASSERT_TRUE(cluster.Announce(MakeHost("normal")).ok());
  // It is answered while all shards are busy with something else.
  std::promise<void> go_on;
  const std::shared_future<void> late = go_on.get_future().share();
  for (size_t i = 0; i < cluster.io().size(); ++i) boost::asio::post(cluster.io().At(i), [late] { late.wait(); });
  api::ListHostsResponse response;
  EXPECT_TRUE(cluster.Call(&api::Scheduler::Stub::ListHosts, api::ListHostsRequest(), &response).ok());
  EXPECT_EQ(response.hosts_size(), 1);
  go_on.set_value();
}

TEST(Unary, DeleteHostTakesItsPeersAlongAtOnce) {
  Cluster cluster;
  Complete(cluster, "a");
  api::DeleteHostRequest request;
  request.set_host_id("host-a");
  google::protobuf::Empty empty;
  EXPECT_TRUE(cluster.Call(&api::Scheduler::Stub::DeleteHost, request, &empty).ok());
  const auto deadline = Clock::now() + testing::kPatience;
  while (cluster.Stat("a").first.ok() && Clock::now() < deadline) std::this_thread::yield();
  EXPECT_EQ(cluster.Stat("a").first.error_code(), grpc::NOT_FOUND);
  const grpc::Status again = cluster.Call(&api::Scheduler::Stub::DeleteHost, request, &empty);
  EXPECT_EQ(again.error_code(), grpc::NOT_FOUND);
  EXPECT_EQ(again.error_message(), "host host-a not found");
  auto late = cluster.Talk("host-a", "late");
  late->Register();
  EXPECT_EQ(late->End().error_code(), grpc::NOT_FOUND);
}

TEST(Unary, AnnouncedAgainAHostIsSeenWithItsNewFacts) {
  Cluster cluster;
  Complete(cluster, "parent");
  common::v2::Host moved = MakeHost("host-parent", 5000);
  moved.set_ip("10.1.2.3");
  ASSERT_TRUE(cluster.Announce(moved).ok());
  auto child = cluster.TalkFromNewHost("child");
  child->Register();
  const common::v2::Host host = child->Parents().candidate_parents(0).host();
  EXPECT_EQ(host.ip(), "10.1.2.3");
  EXPECT_EQ(host.port(), 5000);
}

TEST(Unary, OtherTaskTypesAreClearlyNotServed) {
  Cluster cluster;
  api::StatPersistentTaskRequest request;
  common::v2::PersistentTask response;
  const grpc::Status status = cluster.Call(&api::Scheduler::Stub::StatPersistentTask, request, &response);
  EXPECT_EQ(status.error_code(), grpc::UNIMPLEMENTED);
  EXPECT_EQ(status.error_message(),
            "scheduler.v2.Scheduler/StatPersistentTask is not served: this scheduler serves standard and persistent "
            "cache tasks");
  grpc::ClientContext context;
  auto stream = cluster.stub().AnnouncePersistentPeer(&context);
  api::AnnouncePersistentPeerResponse answer;
  EXPECT_FALSE(stream->Read(&answer));
  EXPECT_EQ(stream->Finish().error_code(), grpc::UNIMPLEMENTED);
}

TEST(CallLimit, RefusesWithTheTextOfTheReferenceWhenConfigured) {
  SchedulerConfig config = Cluster::Config();
  config.server.request_rate_limit = 5;
  Cluster cluster(config);
  grpc::Status refused;
  for (int i = 0; i < 20 && refused.ok(); ++i) refused = cluster.Announce(MakeHost("h"));
  EXPECT_EQ(refused.error_code(), grpc::RESOURCE_EXHAUSTED);
  EXPECT_EQ(refused.error_message(),
            "/scheduler.v2.Scheduler/AnnounceHost is rejected by grpc_ratelimit middleware, please retry later.");
}

}  // namespace
}  // namespace dragonfly::scheduler
