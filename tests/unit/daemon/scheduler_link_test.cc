// SPDX-License-Identifier: Apache-2.0
#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <algorithm>
#include <map>

#include "base/backend_error.h"
#include "base/hash_ring.h"
#include "base/status.h"
#include "base/text.h"
#include "daemon/grpc_scheduler_link.h"
#include "daemon/scheduler_set.h"
#include "rpc/more_parents.h"
#include "runtime/io_threads.h"
#include "runtime/timeout.h"
#include "tests/unit/daemon/scripted_scheduler.h"

namespace dragonfly::daemon {
namespace {

using scheduler::v2::AnnouncePeerRequest;
using scheduler::v2::AnnouncePeerResponse;
using test::Await;
using test::In;
using test::kPatience;
using test::ScriptedScheduler;
using ::testing::ElementsAre;
using ::testing::HasSubstr;

TaskId Task(int number) {
  std::string text = StrCat(number);
  text.insert(0, 64 - text.size(), 'a');
  std::reverse(text.begin(), text.end());
  return *TaskId::Parse(text);
}

common::v2::Peer Parent(const std::string& id, const std::string& ip = "10.1.1.1", int port = 4000) {
  common::v2::Peer peer;
  peer.set_id(id);
  peer.set_state("Running");
  peer.mutable_cost()->set_nanos(7);
  peer.mutable_created_at()->set_seconds(5);
  peer.mutable_host()->set_id(ip + "-host");
  peer.mutable_host()->set_ip(ip);
  peer.mutable_host()->set_port(port);
  peer.mutable_host()->set_hostname("host");
  peer.mutable_task()->set_id("t");
  peer.mutable_task()->set_url("http://origin/file");
  peer.mutable_task()->set_content_length(1234);
  return peer;
}

AnnouncePeerResponse Parents(std::vector<common::v2::Peer> peers) {
  AnnouncePeerResponse response;
  for (common::v2::Peer& peer : peers) {
    *response.mutable_normal_task_response()->add_candidate_parents() = std::move(peer);
  }
  return response;
}

AnnouncePeerResponse BackToSource() {
  AnnouncePeerResponse response;
  response.mutable_need_back_to_source_response()->set_description("peer's NeedBackToSource is true");
  return response;
}

bool IsTerminal(const AnnouncePeerRequest& request) {
  switch (request.request_case()) {
    case AnnouncePeerRequest::kDownloadPeerFinishedRequest:
    case AnnouncePeerRequest::kDownloadPeerBackToSourceFinishedRequest:
    case AnnouncePeerRequest::kDownloadPeerFailedRequest:
    case AnnouncePeerRequest::kDownloadPeerBackToSourceFailedRequest:
      return true;
    default:
      return false;
  }
}

// Answers each register and reschedule request with the next of `answers` and ends after a terminal report, as the
// schedulers do.
ScriptedScheduler::Script Answering(std::vector<AnnouncePeerResponse> answers) {
  return [answers](ScriptedScheduler& self, grpc::ServerContext&, ScriptedScheduler::Stream& stream) {
    size_t next = 0;
    AnnouncePeerRequest request;
    while (self.Read(stream, &request)) {
      if (request.has_register_peer_request() || request.has_reschedule_peer_request()) {
        if (next >= answers.size()) return grpc::Status(grpc::FAILED_PRECONDITION, "no more answers");
        stream.Write(answers[next++]);
      }
      if (IsTerminal(request)) return grpc::Status::OK;
    }
    return grpc::Status::OK;
  };
}

class SchedulerLinkTest : public ::testing::Test {
 protected:
  ~SchedulerLinkTest() override {
    link_.reset();
    if (set_ != nullptr) Await(io_.At(0), set_->Stop());
  }

  // Links to the schedulers at `addrs` and waits for the first check.
  void Link(std::vector<std::string> addrs, GrpcSchedulerLinkOptions options = GrpcSchedulerLinkOptions()) {
    SchedulerSetOptions set;
    dynconfig_ = std::make_unique<StaticDynconfig>(std::move(addrs));
    set.retry_interval = retry_interval_;
    set_ = std::make_unique<SchedulerSet>(set, io_.At(0), *dynconfig_, channels_, blocking_);
    set_->Start();
    Await(io_.At(0), set_->WaitForFirstCheck(In(kPatience)));
    options.host_id = "10.0.0.9-child";
    link_ = std::make_unique<GrpcSchedulerLink>(options, *set_);
  }

  // Waits until exactly these serve.
  bool WaitForMembers(std::vector<std::string> wanted) {
    std::sort(wanted.begin(), wanted.end());
    const runtime::Signal changes = set_->changes();
    const TimePoint deadline = In(kPatience);
    for (;;) {
      const uint64_t seen = changes.version();
      std::vector<std::string> serving;
      for (const auto& member : set_->members()) serving.push_back(member.address);
      std::sort(serving.begin(), serving.end());
      if (serving == wanted) return true;
      if (!Await(io_.At(0), changes.Wait(seen, deadline))) return false;
    }
  }

  std::unique_ptr<PeerSession> Open(const TaskId& task) {
    auto session = Await(io_.At(0), link_->OpenSession(task, "peer-1"));
    EXPECT_TRUE(session.ok()) << session.status();
    return session.ok() ? *std::move(session) : nullptr;
  }

  absl::StatusOr<ScheduleAnswer> Register(PeerSession& session, TaskFacts facts = TaskFacts()) {
    return Await(io_.At(0), session.Register(download_, facts, In(kPatience)));
  }

  // Waits until the only scheduler serves by another connection than `before`.
  bool WaitForConnectionAfter(uint64_t before) {
    const runtime::Signal changes = set_->changes();
    const TimePoint deadline = In(kPatience);
    for (;;) {
      const uint64_t seen = changes.version();
      const auto members = set_->members();
      if (!members.empty() && members[0].connection > before) return true;
      if (!Await(io_.At(0), changes.Wait(seen, deadline))) return false;
    }
  }

  runtime::IoThreads io_{2};
  runtime::BlockingPool blocking_{2, 64};
  rpc::ChannelPool channels_{rpc::ChannelOptions()};
  Clock::duration retry_interval_ = std::chrono::milliseconds(20);
  std::unique_ptr<StaticDynconfig> dynconfig_;
  std::unique_ptr<SchedulerSet> set_;
  std::unique_ptr<GrpcSchedulerLink> link_;
  common::v2::Download download_;
};

TEST_F(SchedulerLinkTest, RegistersWithTheOwnerOfTheTaskOnTheRing) {
  ScriptedScheduler a(Answering({BackToSource()})), b(Answering({BackToSource()})), c(Answering({BackToSource()}));
  const std::map<int, ScriptedScheduler*> by_port = {{a.port(), &a}, {b.port(), &b}, {c.port(), &c}};
  Link({c.address(), a.address(), b.address()});

  SchedulerRing ring;
  std::vector<ScriptedScheduler*> order;
  for (const auto& [port, scheduler] : by_port) {
    ASSERT_TRUE(ring.Add("127.0.0.1", static_cast<uint16_t>(port)).ok());
    order.push_back(scheduler);
  }
  for (int i = 0; i < 12; ++i) {
    ScriptedScheduler& owner = *order[*ring.Pick(Task(i).str())];
    const size_t before = owner.requests().size();
    const auto session = Open(Task(i));
    ASSERT_TRUE(Register(*session).ok());
    ASSERT_EQ(owner.requests().size(), before + 1);
    EXPECT_EQ(owner.requests().back().task_id(), Task(i).str());
  }
}

TEST_F(SchedulerLinkTest, GoesOnToTheNextOnTheRingWhenTheOwnerIsDown) {
  ScriptedScheduler a(Answering({BackToSource()})), b(Answering({BackToSource()}));
  Link({a.address(), b.address()});
  ASSERT_TRUE(WaitForMembers({a.address(), b.address()}));
  const TaskId task = Task(1);
  const std::vector<std::string> order = set_->OrderFor(task);
  ASSERT_EQ(order.size(), 2u);
  ScriptedScheduler& owner = order[0] == a.address() ? a : b;
  ScriptedScheduler& next = order[0] == a.address() ? b : a;

  const auto session = Open(task);
  owner.Stop();
  const auto answer = Register(*session);
  ASSERT_TRUE(answer.ok()) << answer.status();
  EXPECT_TRUE(std::holds_alternative<NeedBackToSource>(*answer));
  ASSERT_EQ(next.requests().size(), 1u);
  EXPECT_TRUE(next.requests()[0].has_register_peer_request());
  EXPECT_TRUE(WaitForMembers({next.address()}));
}

TEST_F(SchedulerLinkTest, ASchedulerThatComesBackIsFoundAgain) {
  ScriptedScheduler scheduler(Answering({BackToSource()}));
  const int port = scheduler.port();
  scheduler.Stop();
  Link({StrCat("127.0.0.1:", port)});
  EXPECT_TRUE(set_->members().empty());
  const auto session = Await(io_.At(0), link_->OpenSession(Task(1), "peer-1"));
  EXPECT_TRUE(absl::IsUnavailable(session.status())) << session.status();

  scheduler.Start(port);
  ASSERT_TRUE(WaitForMembers({scheduler.address()}));
  EXPECT_TRUE(Register(*Open(Task(1))).ok());
}

TEST_F(SchedulerLinkTest, ARestartShowsAsANewConnection) {
  retry_interval_ = std::chrono::hours(1);  // it is seen by itself, not by a look from time to time
  ScriptedScheduler scheduler;
  Link({scheduler.address()});
  ASSERT_TRUE(WaitForMembers({scheduler.address()}));
  for (int i = 0; i < 3; ++i) {
    const uint64_t before = set_->members()[0].connection;
    const int port = scheduler.port();
    scheduler.Stop();
    scheduler.Start(port);
    ASSERT_TRUE(WaitForConnectionAfter(before));
  }
}

TEST_F(SchedulerLinkTest, ResolvesNamesAndListsEachAddressOnce) {
  ScriptedScheduler scheduler;
  Link({StrCat("localhost:", scheduler.port()), scheduler.address()});
  EXPECT_TRUE(WaitForMembers({scheduler.address()}));
}

TEST_F(SchedulerLinkTest, TellsTheFactsWhereBothGenerationsLook) {
  ScriptedScheduler scheduler(Answering({Parents({Parent("p1")})}));
  Link({scheduler.address()});
  download_.set_url("http://origin/file");
  download_.set_piece_length(4 << 20);
  TaskFacts facts;
  facts.content_length = 10 << 20;
  facts.piece_length = 4 << 20;
  facts.piece_count = 3;
  const auto session = Open(Task(1));
  ASSERT_TRUE(Register(*session, facts).ok());
  session->Started();
  Await(io_.At(0), session->Finished(facts, In(kPatience)));

  const auto requests = scheduler.requests();
  ASSERT_EQ(requests.size(), 3u);
  for (const auto& request : requests) {
    EXPECT_EQ(request.host_id(), "10.0.0.9-child");
    EXPECT_EQ(request.task_id(), Task(1).str());
    EXPECT_EQ(request.peer_id(), "peer-1");
  }
  const common::v2::Download& registered = requests[0].register_peer_request().download();
  EXPECT_EQ(registered.url(), "http://origin/file");
  EXPECT_EQ(registered.piece_length(), 4u << 20);
  EXPECT_EQ(registered.actual_content_length(), 10u << 20);
  EXPECT_EQ(registered.actual_piece_length(), 4u << 20);
  EXPECT_EQ(registered.actual_piece_count(), 3u);
  EXPECT_TRUE(requests[1].has_download_peer_started_request());
  EXPECT_EQ(requests[2].download_peer_finished_request().content_length(), 10u << 20);
  EXPECT_EQ(requests[2].download_peer_finished_request().piece_count(), 3u);
}

TEST_F(SchedulerLinkTest, TellsParentsThatAreGivenUnaskedFromAnswers) {
  const auto more = [](const std::string& id) {
    AnnouncePeerResponse response = Parents({Parent(id), Parent("without address", "nonsense")});
    rpc::SetMore(*response.mutable_normal_task_response());
    return response;
  };
  ScriptedScheduler scheduler([&](ScriptedScheduler& self, grpc::ServerContext&, ScriptedScheduler::Stream& stream) {
    AnnouncePeerRequest request;
    while (self.Read(stream, &request)) {
      if (request.has_register_peer_request()) {
        stream.Write(Parents({Parent("first")}));
        stream.Write(more("second"));
      } else if (request.has_reschedule_peer_request()) {
        // What was on its way when the question came, and the answer.
        stream.Write(more("void"));
        stream.Write(Parents({Parent("third")}));
        stream.Write(more("fourth"));
      } else if (request.has_download_peer_started_request() && self.requests().size() == 4) {
        return grpc::Status(grpc::INTERNAL, "broken");
      }
    }
    return grpc::Status::OK;
  });
  Link({scheduler.address()});
  const auto session = Open(Task(1));
  const auto id_of = [](const auto& parents) { return parents.size() == 1 ? parents[0].peer_id : "not one"; };
  const auto answer = Register(*session);
  ASSERT_TRUE(answer.ok()) << answer.status();
  EXPECT_EQ(id_of(std::get<CandidateParents>(*answer).parents), "first");
  session->Started();
  auto given = Await(io_.At(0), session->MoreParents());
  ASSERT_TRUE(given.ok()) << given.status();
  EXPECT_EQ(id_of(*given), "second");
  const auto again = Await(io_.At(0), session->Reschedule({}, "more", In(kPatience)));
  ASSERT_TRUE(again.ok()) << again.status();
  EXPECT_EQ(id_of(std::get<CandidateParents>(*again).parents), "third");
  given = Await(io_.At(0), session->MoreParents());
  ASSERT_TRUE(given.ok()) << given.status();
  EXPECT_EQ(id_of(*given), "fourth");
  session->Started();
  given = Await(io_.At(0), session->MoreParents());
  EXPECT_THAT(MessageOf(given.status()), HasSubstr("broken"));
  EXPECT_TRUE(rpc::TakesMoreParents(scheduler.requests()[0].register_peer_request()));
}

TEST_F(SchedulerLinkTest, SaysNothingAboutFactsThatItDoesNotKnow) {
  ScriptedScheduler scheduler(Answering({BackToSource()}));
  Link({scheduler.address()});
  ASSERT_TRUE(Register(*Open(Task(1))).ok());
  const common::v2::Download registered = scheduler.requests()[0].register_peer_request().download();
  EXPECT_FALSE(registered.has_actual_content_length());
  EXPECT_FALSE(registered.has_actual_piece_length());
  EXPECT_FALSE(registered.has_actual_piece_count());
}

TEST_F(SchedulerLinkTest, EchoesTheTriedParentsAsTheyCame) {
  common::v2::Peer odd = Parent("p2", "2001:db8::1");
  odd.GetReflection()->MutableUnknownFields(&odd)->AddVarint(1999, 42);
  ScriptedScheduler scheduler(Answering({Parents({Parent("p1"), odd}), BackToSource()}));
  Link({scheduler.address()});
  const auto session = Open(Task(1));
  const auto first = Register(*session);
  ASSERT_TRUE(first.ok());
  const auto& parents = std::get<CandidateParents>(*first).parents;
  ASSERT_EQ(parents.size(), 2u);
  EXPECT_EQ(parents[0].peer_id, "p1");
  EXPECT_EQ(parents[0].host_id, "10.1.1.1-host");
  EXPECT_EQ(parents[0].ip, "10.1.1.1");
  EXPECT_EQ(parents[0].port, 4000);
  EXPECT_EQ(parents[0].content_length, 1234u);

  const auto second =
      Await(io_.At(0), session->Reschedule(parents, "not all pieces are downloaded from parent", In(kPatience)));
  ASSERT_TRUE(second.ok()) << second.status();
  EXPECT_TRUE(std::holds_alternative<NeedBackToSource>(*second));
  const auto reschedule = scheduler.requests().at(1).reschedule_peer_request();
  ASSERT_EQ(reschedule.candidate_parents_size(), 2);
  EXPECT_EQ(reschedule.candidate_parents(0).SerializeAsString(), Parent("p1").SerializeAsString());
  EXPECT_EQ(reschedule.candidate_parents(1).SerializeAsString(), odd.SerializeAsString());
  EXPECT_EQ(reschedule.description(), "not all pieces are downloaded from parent");
}

TEST_F(SchedulerLinkTest, AnUnknownLengthIsNoLength) {
  common::v2::Peer unknown = Parent("p1"), untold = Parent("p2");
  unknown.mutable_task()->set_content_length(UINT64_MAX);
  untold.mutable_task()->set_content_length(0);
  ScriptedScheduler scheduler(Answering({Parents({unknown, untold})}));
  Link({scheduler.address()});
  const auto answer = Register(*Open(Task(1)));
  ASSERT_TRUE(answer.ok());
  for (const CandidateParent& parent : std::get<CandidateParents>(*answer).parents) {
    EXPECT_FALSE(parent.content_length.has_value());
  }
}

TEST_F(SchedulerLinkTest, LeavesOutParentsThatCannotBeDialled) {
  common::v2::Peer no_id = Parent("");
  ScriptedScheduler scheduler(Answering({
      Parents({Parent("p1", "host.example"), Parent("p2", "10.0.0.1", 0), Parent("p3", "10.0.0.1", 70000), no_id,
               Parent("good")}),
      Parents({Parent("p1", "host.example")}),
  }));
  Link({scheduler.address()});
  const auto session = Open(Task(1));
  const auto answer = Register(*session);
  ASSERT_TRUE(answer.ok());
  const auto& parents = std::get<CandidateParents>(*answer).parents;
  ASSERT_EQ(parents.size(), 1u);
  EXPECT_EQ(parents[0].peer_id, "good");
  const auto none = Await(io_.At(0), session->Reschedule(parents, "", In(kPatience)));
  EXPECT_THAT(MessageOf(none.status()), HasSubstr("no usable parent"));
}

TEST_F(SchedulerLinkTest, ReportsEachKindOfPiece) {
  ScriptedScheduler scheduler(Answering({Parents({Parent("p1")})}));
  Link({scheduler.address()});
  const auto session = Open(Task(1));
  ASSERT_TRUE(Register(*session).ok());
  storage::PieceRecord piece;
  piece.number = PieceNumber(3);
  piece.range = {.offset = 12 << 20, .length = 77};
  piece.crc32 = 1475635037;
  piece.parent_id = "p1";
  piece.traffic_type = storage::TrafficType::kRemotePeer;
  piece.cost = absl::Milliseconds(1500);
  piece.created_at = absl::FromUnixMillis(1'700'000'000'250);
  session->Started();
  session->PieceFinished(piece);
  piece.parent_id = "";
  piece.traffic_type = storage::TrafficType::kBackToSource;
  session->PieceFinished(piece);
  session->PieceFailed(PieceNumber(9), "p1");
  session->PieceBackToSourceFailed(absl::UnavailableError("no route"));
  BackendError refused;
  refused.message = "404 Not Found";
  refused.header = {{"server", "nginx"}};
  refused.status_code = 404;
  session->PieceBackToSourceFailed(MakeBackendErrorStatus(refused));
  Await(io_.At(0), session->BackToSourceFailed("gave up", In(kPatience)));

  const auto requests = scheduler.requests();
  ASSERT_EQ(requests.size(), 8u);
  const common::v2::Piece& from_peer = requests[2].download_piece_finished_request().piece();
  EXPECT_EQ(from_peer.number(), 3u);
  EXPECT_EQ(from_peer.parent_id(), "p1");
  EXPECT_EQ(from_peer.offset(), 12u << 20);
  EXPECT_EQ(from_peer.length(), 77u);
  EXPECT_EQ(from_peer.digest(), "crc32:1475635037");
  EXPECT_EQ(from_peer.traffic_type(), common::v2::REMOTE_PEER);
  EXPECT_FALSE(from_peer.has_content());
  EXPECT_EQ(from_peer.cost().seconds(), 1);
  EXPECT_EQ(from_peer.cost().nanos(), 500'000'000);
  EXPECT_EQ(from_peer.created_at().seconds(), 1'700'000'000);
  EXPECT_EQ(from_peer.created_at().nanos(), 250'000'000);
  const common::v2::Piece& from_source = requests[3].download_piece_back_to_source_finished_request().piece();
  EXPECT_FALSE(from_source.has_parent_id());
  EXPECT_TRUE(from_source.has_traffic_type());
  EXPECT_EQ(from_source.traffic_type(), common::v2::BACK_TO_SOURCE);
  EXPECT_EQ(requests[4].download_piece_failed_request().piece_number(), 9u);
  EXPECT_EQ(requests[4].download_piece_failed_request().parent_id(), "p1");
  EXPECT_TRUE(requests[4].download_piece_failed_request().temporary());
  const auto& unknown = requests[5].download_piece_back_to_source_failed_request();
  EXPECT_FALSE(unknown.has_piece_number());
  EXPECT_EQ(unknown.unknown().message(), "no route");
  const auto& backend = requests[6].download_piece_back_to_source_failed_request().backend();
  EXPECT_EQ(backend.message(), "404 Not Found");
  EXPECT_EQ(backend.header().at("server"), "nginx");
  EXPECT_EQ(backend.status_code(), 404);
  EXPECT_EQ(requests[7].download_peer_back_to_source_failed_request().description(), "gave up");
}

TEST_F(SchedulerLinkTest, ReportsTheEndOfADownloadFromTheSource) {
  ScriptedScheduler scheduler(Answering({BackToSource()}));
  Link({scheduler.address()});
  const auto session = Open(Task(1));
  const auto answer = Register(*session);
  ASSERT_TRUE(answer.ok());
  EXPECT_EQ(std::get<NeedBackToSource>(*answer).description, "peer's NeedBackToSource is true");
  session->BackToSourceStarted();
  TaskFacts facts;
  facts.content_length = 5;
  facts.piece_count = 1;
  Await(io_.At(0), session->BackToSourceFinished(facts, In(kPatience)));
  const auto requests = scheduler.requests();
  ASSERT_EQ(requests.size(), 3u);
  EXPECT_TRUE(requests[1].has_download_peer_back_to_source_started_request());
  EXPECT_EQ(requests[2].download_peer_back_to_source_finished_request().content_length(), 5u);
  EXPECT_EQ(requests[2].download_peer_back_to_source_finished_request().piece_count(), 1u);
}

TEST_F(SchedulerLinkTest, AnyAnswerToAMetadataOnlyRegistrationIsGood) {
  AnnouncePeerResponse empty, metadata_only;
  empty.mutable_empty_task_response();
  metadata_only.mutable_metadata_only_response();
  for (const AnnouncePeerResponse& response : {empty, metadata_only, Parents({Parent("p")}), BackToSource()}) {
    ScriptedScheduler scheduler(Answering({response}));
    if (set_ != nullptr) Await(io_.At(0), set_->Stop());
    Link({scheduler.address()});
    download_.set_metadata_only(true);
    const auto answer = Register(*Open(Task(1)));
    ASSERT_TRUE(answer.ok()) << answer.status();
    EXPECT_TRUE(std::holds_alternative<EmptyTask>(*answer));
  }
}

TEST_F(SchedulerLinkTest, AnAnswerWithoutAMemberIsAnError) {
  ScriptedScheduler scheduler(Answering({AnnouncePeerResponse()}));
  Link({scheduler.address()});
  EXPECT_THAT(MessageOf(Register(*Open(Task(1))).status()), HasSubstr("unexpected response"));
}

TEST_F(SchedulerLinkTest, PassesASilentSchedulerOver) {
  // Reads on until the caller has gone.
  const ScriptedScheduler::Script silent = [](ScriptedScheduler& self, grpc::ServerContext&,
                                              ScriptedScheduler::Stream& stream) {
    AnnouncePeerRequest request;
    while (self.Read(stream, &request)) {
    }
    return grpc::Status::OK;
  };
  ScriptedScheduler a(silent), b(silent);
  GrpcSchedulerLinkOptions options;
  options.first_answer_timeout = std::chrono::milliseconds(500);
  Link({a.address(), b.address()}, options);
  ASSERT_TRUE(WaitForMembers({a.address(), b.address()}));
  const auto answer = Register(*Open(Task(1)));
  EXPECT_TRUE(absl::IsDeadlineExceeded(answer.status())) << answer.status();
  EXPECT_EQ(a.requests().size(), 1u);
  EXPECT_EQ(b.requests().size(), 1u);
}

TEST_F(SchedulerLinkTest, ABrokenConversationIsAnErrorAndReportsAreDropped) {
  const ScriptedScheduler::Script breaking = [](ScriptedScheduler& self, grpc::ServerContext&,
                                                ScriptedScheduler::Stream& stream) {
    AnnouncePeerRequest request;
    self.Read(stream, &request);
    stream.Write(Parents({Parent("p1")}));
    self.Read(stream, &request);
    return grpc::Status(grpc::INTERNAL, "event Download failed");
  };
  ScriptedScheduler scheduler(breaking);
  Link({scheduler.address()});
  const auto session = Open(Task(1));
  ASSERT_TRUE(Register(*session).ok());
  session->Started();
  const auto answer = Await(io_.At(0), session->Reschedule({}, "", In(kPatience)));
  EXPECT_TRUE(absl::IsInternal(answer.status())) << answer.status();
  EXPECT_THAT(MessageOf(answer.status()), HasSubstr("event Download failed"));
  EXPECT_THAT(MessageOf(answer.status()), HasSubstr(scheduler.address()));
  session->PieceFailed(PieceNumber(1), "p1");
  Await(io_.At(0), session->Failed("gave up", In(kPatience)));
  session->Started();  // nothing is open any more
}

TEST_F(SchedulerLinkTest, ASchedulerThatDoesNotEndTheConversationHoldsNobodyUp) {
  const ScriptedScheduler::Script holding = [](ScriptedScheduler& self, grpc::ServerContext& context,
                                               ScriptedScheduler::Stream& stream) {
    AnnouncePeerRequest request;
    self.Read(stream, &request);
    stream.Write(Parents({Parent("p1")}));
    while (self.Read(stream, &request)) {
    }
    // Half-closed by now; the end comes only when the caller cuts the call.
    absl::Notification never;
    while (!context.IsCancelled()) never.WaitForNotificationWithTimeout(absl::Milliseconds(5));
    return grpc::Status::OK;
  };
  ScriptedScheduler scheduler(holding);
  Link({scheduler.address()});
  const auto session = Open(Task(1));
  ASSERT_TRUE(Register(*session).ok());
  const TimePoint begin = Clock::now();
  Await(io_.At(0), session->Finished(TaskFacts(), In(std::chrono::milliseconds(100))));
  EXPECT_LT(Clock::now() - begin, std::chrono::seconds(5));
  EXPECT_EQ(scheduler.requests().size(), 2u);
}

TEST_F(SchedulerLinkTest, MakesItselfKnownToASchedulerThatForgotIt) {
  int registrations = 0;
  const ScriptedScheduler::Script forgetful = [&registrations](ScriptedScheduler& self, grpc::ServerContext&,
                                                               ScriptedScheduler::Stream& stream) {
    AnnouncePeerRequest request;
    self.Read(stream, &request);
    if (++registrations == 1) return grpc::Status(grpc::NOT_FOUND, "host 10.0.0.9-child not found");
    stream.Write(BackToSource());
    while (self.Read(stream, &request)) {
    }
    return grpc::Status::OK;
  };
  ScriptedScheduler scheduler(forgetful);
  std::vector<std::string> announced;
  GrpcSchedulerLinkOptions options;
  options.announce = [&announced](std::string address) -> boost::asio::awaitable<absl::Status> {
    announced.push_back(std::move(address));
    co_return absl::OkStatus();
  };
  Link({scheduler.address()}, options);
  const auto answer = Register(*Open(Task(1)));
  ASSERT_TRUE(answer.ok()) << answer.status();
  EXPECT_THAT(announced, ElementsAre(scheduler.address()));
  EXPECT_EQ(registrations, 2);
}

TEST_F(SchedulerLinkTest, AsksTheTasksSchedulerAboutTasksAndLeavesAll) {
  ScriptedScheduler a, b;
  Link({a.address(), b.address()});
  ASSERT_TRUE(WaitForMembers({a.address(), b.address()}));
  const TaskId task = Task(4);
  ScriptedScheduler& owner = set_->OrderFor(task)[0] == a.address() ? a : b;

  const auto stat = Await(io_.At(0), link_->StatTask(task));
  ASSERT_TRUE(stat.ok()) << stat.status();
  common::v2::Task parsed;
  ASSERT_TRUE(parsed.ParseFromString(*stat));
  EXPECT_EQ(parsed.id(), task.str());
  EXPECT_EQ(parsed.state(), "Succeeded");

  EXPECT_TRUE(Await(io_.At(0), link_->DeleteTask(task)).ok());
  EXPECT_THAT(owner.deleted_tasks(), ElementsAre("10.0.0.9-child/" + task.str()));
  Await(io_.At(0), link_->DeleteHost());
  EXPECT_THAT(a.deleted_hosts(), ElementsAre("10.0.0.9-child"));
  EXPECT_THAT(b.deleted_hosts(), ElementsAre("10.0.0.9-child"));
}

TEST_F(SchedulerLinkTest, GivesUpLeavingWhenItIsCancelled) {
  ScriptedScheduler a, b;
  Link({a.address(), b.address()});
  ASSERT_TRUE(WaitForMembers({a.address(), b.address()}));
  a.HoldDeletes();
  b.HoldDeletes();
  const auto bounded = [](SchedulerLink& link) -> boost::asio::awaitable<absl::Status> {
    const auto leave = [](SchedulerLink& inner) -> boost::asio::awaitable<absl::Status> {
      co_await inner.DeleteHost();
      co_return absl::OkStatus();
    };
    co_return co_await runtime::WithDeadline(leave(link), Clock::now() + std::chrono::milliseconds(100));
  };
  const absl::Status status = Await(io_.At(0), bounded(*link_));
  EXPECT_TRUE(absl::IsDeadlineExceeded(status)) << status;
  a.ReleaseDeletes();
  b.ReleaseDeletes();
}

TEST_F(SchedulerLinkTest, WithoutASchedulerEveryCallIsUnavailable) {
  Link({});
  EXPECT_TRUE(absl::IsUnavailable(Await(io_.At(0), link_->OpenSession(Task(1), "p")).status()));
  EXPECT_TRUE(absl::IsUnavailable(Await(io_.At(0), link_->StatTask(Task(1))).status()));
  EXPECT_TRUE(absl::IsUnavailable(Await(io_.At(0), link_->DeleteTask(Task(1)))));
  Await(io_.At(0), link_->DeleteHost());
}

}  // namespace
}  // namespace dragonfly::daemon
