// SPDX-License-Identifier: Apache-2.0
// manager.v2 as schedulers and peers see it.
#include <array>
#include <optional>
#include <thread>
#include <vector>

#include "base/status.h"
#include "base/text.h"
#include "db/database.h"
#include "db/value.h"
#include "gmock/gmock.h"
#include "gtest/gtest.h"
#include "tests/unit/manager/running_manager.h"

namespace dragonfly::manager {
namespace {

namespace api = ::manager::v2;
using ::testing::AllOf;
using ::testing::HasSubstr;

class GrpcService : public ::testing::TestWithParam<db::Engine> {
 protected:
  void SetUp() override { running_.Start(); }

  std::unique_ptr<grpc::ClientContext> Context() {
    auto context = std::make_unique<grpc::ClientContext>();
    context->set_deadline(std::chrono::system_clock::now() + std::chrono::seconds(20));
    return context;
  }

  api::UpdateSchedulerRequest SchedulerRequest(const std::string& hostname, const std::string& ip) {
    api::UpdateSchedulerRequest request;
    request.set_source_type(api::SCHEDULER_SOURCE);
    request.set_hostname(hostname);
    request.set_ip(ip);
    request.set_port(8002);
    request.set_scheduler_cluster_id(1);
    return request;
  }

  api::UpdateSeedPeerRequest SeedPeerRequest(const std::string& hostname, const std::string& ip) {
    api::UpdateSeedPeerRequest request;
    request.set_source_type(api::SEED_PEER_SOURCE);
    request.set_hostname(hostname);
    request.set_ip(ip);
    request.set_type("super");
    request.set_port(4000);
    request.set_download_port(4001);
    request.set_seed_peer_cluster_id(1);
    return request;
  }

  api::Scheduler Register(const api::UpdateSchedulerRequest& request) {
    api::Scheduler response;
    const auto context = Context();
    const grpc::Status status = running_.Stub()->UpdateScheduler(context.get(), request, &response);
    EXPECT_TRUE(status.ok()) << status.error_message();
    return response;
  }

  api::SeedPeer Register(const api::UpdateSeedPeerRequest& request) {
    api::SeedPeer response;
    const auto context = Context();
    const grpc::Status status = running_.Stub()->UpdateSeedPeer(context.get(), request, &response);
    EXPECT_TRUE(status.ok()) << status.error_message();
    return response;
  }

  api::ListSchedulersResponse ListSchedulers() {
    api::ListSchedulersRequest request;
    request.set_source_type(api::PEER_SOURCE);
    request.set_hostname("peer-1");
    request.set_ip("10.0.0.9");
    request.set_version("2.3.0");
    api::ListSchedulersResponse response;
    const auto context = Context();
    const grpc::Status status = running_.Stub()->ListSchedulers(context.get(), request, &response);
    EXPECT_TRUE(status.ok()) << status.error_message();
    return response;
  }

  // A heartbeat that lasts as long as the object.
  struct Heart {
    std::unique_ptr<grpc::ClientContext> context = std::make_unique<grpc::ClientContext>();
    google::protobuf::Empty response;
    std::unique_ptr<grpc::ClientWriter<api::KeepAliveRequest>> stream;
  };
  Heart KeepAlive(api::SourceType source, const std::string& hostname, const std::string& ip) {
    Heart heart;
    heart.stream = running_.Stub()->KeepAlive(heart.context.get(), &heart.response);
    api::KeepAliveRequest request;
    request.set_source_type(source);
    request.set_hostname(hostname);
    request.set_ip(ip);
    request.set_cluster_id(1);
    EXPECT_TRUE(heart.stream->Write(request));
    return heart;
  }
  grpc::Status End(Heart& heart) {
    heart.stream->WritesDone();
    return heart.stream->Finish();
  }

  // Asks until `count` schedulers are listed.
  api::ListSchedulersResponse AwaitSchedulers(int count) {
    const auto deadline = std::chrono::steady_clock::now() + std::chrono::seconds(15);
    for (;;) {
      api::ListSchedulersResponse response = ListSchedulers();
      if (response.schedulers_size() == count || std::chrono::steady_clock::now() > deadline) return response;
      std::this_thread::yield();
    }
  }

  RunningManager running_{GetParam()};
};

// What no database can change.
class GrpcServiceRules : public GrpcService {};

TEST_P(GrpcService, ListsASchedulerWhileItKeepsAlive) {
  const api::Scheduler registered = Register(SchedulerRequest("scheduler-1", "10.0.0.1"));
  EXPECT_EQ(registered.hostname(), "scheduler-1");
  EXPECT_EQ(registered.state(), "inactive");
  EXPECT_EQ(registered.features(), R"(["schedule","preheat"])");
  EXPECT_EQ(ListSchedulers().schedulers_size(), 0);

  Heart heart = KeepAlive(api::SCHEDULER_SOURCE, "scheduler-1", "10.0.0.1");
  Register(SeedPeerRequest("seed-1", "10.0.0.2"));
  const api::ListSchedulersResponse listed = AwaitSchedulers(1);
  ASSERT_EQ(listed.schedulers_size(), 1);
  EXPECT_EQ(listed.schedulers(0).state(), "active");
  EXPECT_EQ(listed.schedulers(0).port(), 8002);
  EXPECT_EQ(listed.schedulers(0).scheduler_cluster().client_config(), R"({"load_limit":200})");
  ASSERT_EQ(listed.schedulers(0).seed_peers_size(), 1);
  EXPECT_EQ(listed.schedulers(0).seed_peers(0).seed_peer_cluster().config(), R"({"load_limit":2000})");

  EXPECT_TRUE(End(heart).ok());
  EXPECT_EQ(ListSchedulers().schedulers_size(), 0);
}

TEST_P(GrpcServiceRules, KeepsASchedulerActiveThatHasMovedToANewStream) {
  Register(SchedulerRequest("scheduler-1", "10.0.0.1"));
  Heart first = KeepAlive(api::SCHEDULER_SOURCE, "scheduler-1", "10.0.0.1");
  EXPECT_EQ(AwaitSchedulers(1).schedulers_size(), 1);
  // The table tells what was heard last by the millisecond; a scheduler speaks every few seconds.
  const std::string heard = db::TimeText(absl::Now());
  while (db::TimeText(absl::Now()) == heard) std::this_thread::yield();
  Heart second = KeepAlive(api::SCHEDULER_SOURCE, "scheduler-1", "10.0.0.1");
  // Its second message is handled when the first has been.
  api::KeepAliveRequest again;
  again.set_hostname("scheduler-1");
  for (int i = 0; i < 3; ++i) ASSERT_TRUE(second.stream->Write(again));
  // The end of a stream answers after all of its messages.
  EXPECT_TRUE(End(first).ok());
  EXPECT_EQ(AwaitSchedulers(1).schedulers_size(), 1);
  EXPECT_TRUE(End(second).ok());
  EXPECT_EQ(ListSchedulers().schedulers_size(), 0);
}

// The end of its old stream is often told when the new one is there.
TEST_P(GrpcService, KeepsASeedPeerActiveThatHasMovedToANewStream) {
  Register(SeedPeerRequest("seed-1", "10.0.0.2"));
  const auto state = [&] {
    api::GetSeedPeerRequest request;
    request.set_source_type(api::SEED_PEER_SOURCE);
    request.set_hostname("seed-1");
    request.set_ip("10.0.0.2");
    request.set_seed_peer_cluster_id(1);
    api::SeedPeer response;
    const auto context = Context();
    const grpc::Status status = running_.Stub()->GetSeedPeer(context.get(), request, &response);
    EXPECT_TRUE(status.ok()) << status.error_message();
    return response.state();
  };
  Heart first = KeepAlive(api::SEED_PEER_SOURCE, "seed-1", "10.0.0.2");
  Heart second = KeepAlive(api::SEED_PEER_SOURCE, "seed-1", "10.0.0.2");
  EXPECT_TRUE(End(first).ok());
  api::KeepAliveRequest again;
  again.set_hostname("seed-1");
  const auto deadline = std::chrono::steady_clock::now() + std::chrono::seconds(15);
  do {
    ASSERT_LT(std::chrono::steady_clock::now(), deadline);
    ASSERT_TRUE(second.stream->Write(again));
  } while (state() != "active");
  EXPECT_TRUE(End(second).ok());
  EXPECT_EQ(state(), "inactive");
}

TEST_P(GrpcService, RegistersTheSameInstanceOnceUnderAnyPort) {
  api::UpdateSchedulerRequest request = SchedulerRequest("scheduler-1", "10.0.0.1");
  request.set_idc("eu");
  const uint64_t id = Register(request).id();
  request.set_port(8003);
  request.clear_idc();
  request.add_features("schedule");
  const api::Scheduler again = Register(request);
  EXPECT_EQ(again.id(), id);
  EXPECT_EQ(again.port(), 8003);
  EXPECT_EQ(again.idc(), "eu");
  EXPECT_EQ(again.features(), R"(["schedule"])");
  // Another address of the same name is another instance.
  EXPECT_NE(Register(SchedulerRequest("scheduler-1", "10.0.0.3")).id(), id);
}

TEST_P(GrpcService, RegistersOnceHoweverManyComeAtOnce) {
  std::vector<uint64_t> ids(6);
  std::vector<std::jthread> threads;
  for (uint64_t& id : ids) {
    threads.emplace_back([&] { id = Register(SeedPeerRequest("seed-1", "10.0.0.2")).id(); });
  }
  threads.clear();
  for (const uint64_t id : ids) EXPECT_EQ(id, ids.front());
}

TEST_P(GrpcServiceRules, GivesASchedulerItsClusterAndSeedPeers) {
  Register(SchedulerRequest("scheduler-1", "10.0.0.1"));
  Register(SeedPeerRequest("seed-1", "10.0.0.2"));
  api::GetSchedulerRequest request;
  request.set_source_type(api::SCHEDULER_SOURCE);
  request.set_hostname("scheduler-1");
  request.set_ip("10.0.0.1");
  request.set_scheduler_cluster_id(1);
  api::Scheduler scheduler;
  auto context = Context();
  ASSERT_TRUE(running_.Stub()->GetScheduler(context.get(), request, &scheduler).ok());
  EXPECT_EQ(scheduler.scheduler_cluster().config(),
            R"({"candidate_parent_limit":4,"filter_parent_limit":15,"job_rate_limit":10})");
  ASSERT_EQ(scheduler.seed_peers_size(), 1);
  EXPECT_EQ(scheduler.seed_peers(0).hostname(), "seed-1");

  // Gone at once, from every answer.
  api::DeleteSeedPeerRequest remove;
  remove.set_source_type(api::SEED_PEER_SOURCE);
  remove.set_hostname("seed-1");
  remove.set_ip("10.0.0.2");
  remove.set_seed_peer_cluster_id(1);
  google::protobuf::Empty nothing;
  for (int i = 0; i < 2; ++i) {
    context = Context();
    EXPECT_TRUE(running_.Stub()->DeleteSeedPeer(context.get(), remove, &nothing).ok());
  }
  context = Context();
  ASSERT_TRUE(running_.Stub()->GetScheduler(context.get(), request, &scheduler).ok());
  EXPECT_EQ(scheduler.seed_peers_size(), 0);
}

TEST_P(GrpcServiceRules, GivesASeedPeerItsClusterAndTheOthers) {
  Register(SeedPeerRequest("seed-1", "10.0.0.2"));
  Register(SeedPeerRequest("seed-2", "10.0.0.3"));
  api::GetSeedPeerRequest get;
  get.set_source_type(api::SEED_PEER_SOURCE);
  get.set_hostname("seed-2");
  get.set_ip("10.0.0.3");
  get.set_seed_peer_cluster_id(1);
  api::SeedPeer seed_peer;
  auto context = Context();
  ASSERT_TRUE(running_.Stub()->GetSeedPeer(context.get(), get, &seed_peer).ok());
  EXPECT_EQ(seed_peer.download_port(), 4001);
  EXPECT_EQ(seed_peer.seed_peer_cluster().name(), "cluster-1");

  api::ListSeedPeersRequest list;
  list.set_source_type(api::SEED_PEER_SOURCE);
  list.set_hostname("seed-1");
  list.set_ip("10.0.0.2");
  api::ListSeedPeersResponse listed;
  context = Context();
  ASSERT_TRUE(running_.Stub()->ListSeedPeers(context.get(), list, &listed).ok());
  EXPECT_EQ(listed.seed_peers_size(), 2);
}

TEST_P(GrpcServiceRules, AnswersNotFoundWithTheName) {
  api::GetSchedulerRequest request;
  request.set_hostname("nobody");
  request.set_scheduler_cluster_id(7);
  api::Scheduler scheduler;
  auto context = Context();
  const grpc::Status unknown = running_.Stub()->GetScheduler(context.get(), request, &scheduler);
  EXPECT_EQ(unknown.error_code(), grpc::StatusCode::NOT_FOUND);
  EXPECT_THAT(unknown.error_message(), AllOf(HasSubstr("nobody"), HasSubstr("7")));

  api::UpdateSchedulerRequest stray = SchedulerRequest("scheduler-1", "10.0.0.1");
  stray.set_scheduler_cluster_id(99);
  context = Context();
  const grpc::Status no_cluster = running_.Stub()->UpdateScheduler(context.get(), stray, &scheduler);
  EXPECT_EQ(no_cluster.error_code(), grpc::StatusCode::NOT_FOUND);
  EXPECT_THAT(no_cluster.error_message(), HasSubstr("scheduler cluster 99"));

  api::ListApplicationsRequest applications;
  applications.set_hostname("peer-1");
  applications.set_ip("10.0.0.9");
  api::ListApplicationsResponse response;
  context = Context();
  const grpc::Status none = running_.Stub()->ListApplications(context.get(), applications, &response);
  EXPECT_EQ(none.error_code(), grpc::StatusCode::NOT_FOUND);
  EXPECT_EQ(none.error_message(), "application not found");

  Heart heart = KeepAlive(api::SCHEDULER_SOURCE, "nobody", "10.0.0.1");
  const grpc::Status stranger = heart.stream->Finish();
  EXPECT_EQ(stranger.error_code(), grpc::StatusCode::NOT_FOUND);
}

TEST_P(GrpcServiceRules, RefusesWhatCannotBe) {
  api::Scheduler scheduler;
  const auto refused = [&](const std::function<void(api::UpdateSchedulerRequest&)>& change) {
    api::UpdateSchedulerRequest request = SchedulerRequest("scheduler-1", "10.0.0.1");
    change(request);
    const auto context = Context();
    const grpc::Status status = running_.Stub()->UpdateScheduler(context.get(), request, &scheduler);
    EXPECT_EQ(status.error_code(), grpc::StatusCode::INVALID_ARGUMENT) << request.ShortDebugString();
    return status.error_message();
  };
  EXPECT_THAT(refused([](auto& request) { request.set_hostname("under_score"); }), HasSubstr("Hostname"));
  EXPECT_THAT(refused([](auto& request) { request.set_hostname(""); }), HasSubstr("Hostname"));
  EXPECT_THAT(refused([](auto& request) { request.set_ip("10.0.0"); }), HasSubstr("Ip"));
  EXPECT_THAT(refused([](auto& request) { request.set_port(80); }), HasSubstr("Port"));
  EXPECT_THAT(refused([](auto& request) { request.set_scheduler_cluster_id(0); }), HasSubstr("SchedulerClusterId"));
  EXPECT_THAT(refused([](auto& request) { request.set_idc(std::string(1025, 'x')); }), HasSubstr("Idc"));
}

TEST_P(GrpcService, EndsHeartbeatsAtOnceWhenItStopsAndKeepsTheirSenders) {
  Register(SchedulerRequest("scheduler-1", "10.0.0.1"));
  Heart heart = KeepAlive(api::SCHEDULER_SOURCE, "scheduler-1", "10.0.0.1");
  EXPECT_EQ(AwaitSchedulers(1).schedulers_size(), 1);
  std::jthread stop([&] { running_.Stop(); });
  EXPECT_EQ(heart.stream->Finish().error_code(), grpc::StatusCode::UNAVAILABLE);
  stop.join();
  heart.stream.reset();
  running_.Start();
  // It goes on with the manager that comes next.
  EXPECT_EQ(ListSchedulers().schedulers_size(), 1);
}

// The replicas of a deployment, which all find the database empty.
class Replicas : public ::testing::TestWithParam<db::Engine> {};

TEST_P(Replicas, StartTogetherOnAnEmptyDatabase) {
  constexpr size_t kCount = 6;
  RunningManager place(GetParam());
  // With its tables, so that they meet at the rows.
  place.Start();
  place.Stop();
  db::DatabaseOptions options;
  options.engine = GetParam();
  options.host = "127.0.0.1";
  options.port = place.server().port();
  options.user = "dragonfly";
  options.password = testing::SqlServer::kPassword;
  options.name = "manager";
  const auto emptied =
      (*db::Database::Open(options))->RunHere<bool>([](db::Connection& connection) -> absl::StatusOr<bool> {
        for (const char* const table : {"\"user\"", "scheduler_cluster", "seed_peer_cluster", "config", "casbin_rule",
                                        "seed_peer_cluster_scheduler_cluster"}) {
          DF_RETURN_IF_ERROR(connection.Execute(StrCat("DELETE FROM ", table)).status());
        }
        return true;
      });
  ASSERT_TRUE(emptied.ok()) << emptied.status();
  std::array<std::optional<runtime::IoThreads>, kCount> io;
  std::array<absl::StatusOr<std::unique_ptr<Manager>>, kCount> started;
  std::vector<std::thread> threads;
  for (size_t i = 0; i < kCount; ++i) {
    io[i].emplace(1);
    threads.emplace_back([&, i] { started[i] = Manager::Start(place.Config(), *io[i]); });
  }
  for (std::thread& thread : threads) thread.join();
  size_t passwords = 0;
  for (auto& manager : started) {
    EXPECT_TRUE(manager.ok()) << manager.status();
    if (!manager.ok()) continue;
    passwords += (*manager)->first_password().empty() ? 0 : 1;
    (*manager)->Stop(Clock::now());
    manager->reset();
  }
  EXPECT_EQ(passwords, 1u);
}

INSTANTIATE_TEST_SUITE_P(Engines, Replicas, ::testing::Values(db::Engine::kPostgres, db::Engine::kMysql),
                         [](const auto& info) { return std::string(db::NameOf(info.param)); });

INSTANTIATE_TEST_SUITE_P(Engines, GrpcService,
                         ::testing::Values(db::Engine::kSqlite, db::Engine::kPostgres, db::Engine::kMysql),
                         [](const auto& info) { return std::string(db::NameOf(info.param)); });

INSTANTIATE_TEST_SUITE_P(Engines, GrpcServiceRules, ::testing::Values(db::Engine::kSqlite),
                         [](const auto& info) { return std::string(db::NameOf(info.param)); });

}  // namespace
}  // namespace dragonfly::manager
