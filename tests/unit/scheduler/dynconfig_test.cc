// SPDX-License-Identifier: Apache-2.0
// A scheduler and its manager over real gRPC; and dynconfig.yaml in its place.
#include <algorithm>
#include <filesystem>
#include <fstream>
#include <sstream>

#include "base/text.h"
#include "tests/support/temp_dir.h"
#include "tests/unit/rpc/tls_fixture.h"
#include "tests/unit/scheduler/cluster.h"
#include "tests/unit/scheduler/fake_manager.h"

namespace dragonfly::scheduler {
namespace {

namespace api = ::scheduler::v2;
using testing::Cluster;
using ::testing::Contains;
using testing::Conversation;
using ::testing::ElementsAre;
using testing::FakeManager;
using testing::FakeSeed;
using ::testing::HasSubstr;
using testing::MakeHost;

class DynconfigTest : public ::testing::Test {
 protected:
  SchedulerConfig Config() {
    SchedulerConfig config = Cluster::Config();
    config.server.host = "sched-1";
    config.server.advertise_ip = "127.0.0.1";
    config.server.cache_dir = dir_.path().string();
    config.manager.scheduler_cluster_id = 3;
    config.manager.keep_alive_interval = absl::Milliseconds(20);
    config.dynconfig.refresh_interval = absl::Milliseconds(20);
    config.host.idc = "dc";
    config.host.location = "eu|de";
    return config;
  }
  SchedulerConfig WithManager(const FakeManager& manager) {
    SchedulerConfig config = Config();
    config.manager.addr = manager.address();
    return config;
  }
  std::vector<std::filesystem::path> CacheFiles() {
    std::vector<std::filesystem::path> files;
    std::error_code ignored;
    for (const auto& entry : std::filesystem::directory_iterator(dir_.path() / "dynconfig", ignored)) {
      files.push_back(entry.path());
    }
    return files;
  }

  const dragonfly::testing::TempDir dir_;
};

void SetLimits(FakeManager& manager, int candidates) {
  manager.Change([&](manager::v2::Scheduler& scheduler, manager::v2::ListApplicationsResponse&) {
    scheduler.mutable_scheduler_cluster()->set_config(StrCat("{\"candidate_parent_limit\":", candidates, "}"));
  });
}

// Asks until the scheduler offers `count` parents to a new child.
bool AwaitParents(Cluster& cluster, int count) {
  static std::atomic<int> child{0};
  const auto deadline = Clock::now() + testing::kPatience;
  while (Clock::now() < deadline) {
    auto talk = cluster.TalkFromNewHost("child-" + std::to_string(++child));
    talk->Register();
    if (talk->Parents().candidate_parents_size() == count) return true;
  }
  return false;
}

void Complete(Cluster& cluster, const std::string& peer) {
  auto talk = cluster.TalkFromNewHost(peer);
  talk->Register();
  talk->Answer();
  talk->BackToSourceStarted();
  talk->BackToSourceFinished();
  EXPECT_TRUE(talk->End().ok());
}

TEST_F(DynconfigTest, RegistersWithTheManagerAndStaysActive) {
  FakeManager manager;
  Cluster cluster(WithManager(manager));
  ASSERT_TRUE(manager.WaitForEvent("beat sched-1 127.0.0.1 3", 3));
  const manager::v2::UpdateSchedulerRequest request = manager.registration();
  EXPECT_EQ(request.source_type(), manager::v2::SCHEDULER_SOURCE);
  EXPECT_EQ(request.hostname(), "sched-1");
  EXPECT_EQ(request.ip(), "127.0.0.1");
  EXPECT_EQ(request.port(), cluster.scheduler().port());
  EXPECT_EQ(request.idc(), "dc");
  EXPECT_EQ(request.location(), "eu|de");
  EXPECT_EQ(request.scheduler_cluster_id(), 3u);
  EXPECT_THAT(request.features(), ElementsAre("schedule"));
  EXPECT_EQ(request.config(), "{\"manager_keep_alive_interval\":20000000}");
}

TEST_F(DynconfigTest, AnAdvertisedPortIsToldInPlaceOfTheBoundOne) {
  FakeManager manager;
  SchedulerConfig config = WithManager(manager);
  config.server.advertise_port = 8102;
  Cluster cluster(config);
  ASSERT_TRUE(manager.WaitForEvent("update"));
  EXPECT_EQ(manager.registration().port(), 8102);
}

TEST_F(DynconfigTest, SpeaksMutualTlsWithTheManager) {
  rpc::TestAuthority authority(dir_.path(), "site");
  FakeManager manager(authority.Issue("manager"));
  SchedulerConfig config = WithManager(manager);
  const rpc::TlsFiles own = authority.Issue("scheduler");
  config.manager.tls.ca_cert = own.ca_cert;
  config.manager.tls.cert = own.cert;
  config.manager.tls.key = own.key;
  Cluster cluster(config);
  EXPECT_TRUE(manager.WaitForEvent("beat sched-1 127.0.0.1 3"));
}

TEST_F(DynconfigTest, RegistersAgainWithAManagerThatComesBack) {
  FakeManager manager;
  Cluster cluster(WithManager(manager));
  ASSERT_TRUE(manager.WaitForEvent("beat sched-1 127.0.0.1 3"));
  const int port = manager.port();
  manager.Stop();
  manager.Start(port);
  EXPECT_TRUE(manager.WaitForEvent("update", 2));
}

// The manager goes on taking the beats of a scheduler whose record somebody has deleted.
TEST_F(DynconfigTest, RegistersAgainWhenTheManagerHasForgottenIt) {
  FakeManager manager;
  Cluster cluster(WithManager(manager));
  ASSERT_TRUE(manager.WaitForEvent("beat sched-1 127.0.0.1 3"));
  manager.Forget();
  EXPECT_TRUE(manager.WaitForEvent("update", 2));
  EXPECT_TRUE(manager.WaitForEvent("inactive"));
}

TEST_F(DynconfigTest, TheManagerTakesAStoppedSchedulerForInactive) {
  FakeManager manager;
  {
    Cluster cluster(WithManager(manager));
    ASSERT_TRUE(manager.WaitForEvent("beat sched-1 127.0.0.1 3"));
  }
  EXPECT_TRUE(manager.WaitForEvent("inactive"));
}

TEST_F(DynconfigTest, TakesTheLimitOfParentsFromTheManagerWhileItRuns) {
  FakeManager manager;
  SetLimits(manager, 1);
  Cluster cluster(WithManager(manager));
  for (const char* const peer : {"a", "b", "c"}) Complete(cluster, peer);
  EXPECT_TRUE(AwaitParents(cluster, 1));
  SetLimits(manager, 2);
  EXPECT_TRUE(AwaitParents(cluster, 2));
}

TEST_F(DynconfigTest, WithoutTheManagerWhatItSaidLastHoldsAfterARestart) {
  FakeManager manager;
  SetLimits(manager, 1);
  SchedulerConfig config = WithManager(manager);
  config.server.port = 0;
  int port = 0;
  {
    Cluster cluster(config);
    for (const char* const peer : {"a", "b"}) Complete(cluster, peer);
    ASSERT_TRUE(AwaitParents(cluster, 1));
    port = cluster.scheduler().port();
    const auto deadline = Clock::now() + testing::kPatience;
    while (CacheFiles().empty() && Clock::now() < deadline) std::this_thread::yield();
  }
  manager.Stop();
  const auto files = CacheFiles();
  ASSERT_EQ(files.size(), 1u);
  EXPECT_EQ(files[0].filename(), StrCat("scheduler-sched-1-", port, ".json"));
  EXPECT_EQ(std::filesystem::status(files[0]).permissions(),
            std::filesystem::perms::owner_read | std::filesystem::perms::owner_write);
  // The same scheduler comes back on its port, and the manager does not.
  config.server.port = static_cast<uint16_t>(port);
  Cluster again(config);
  for (const char* const peer : {"a", "b"}) Complete(again, peer);
  auto talk = again.TalkFromNewHost("child");
  talk->Register();
  EXPECT_EQ(talk->Parents().candidate_parents_size(), 1);
}

TEST_F(DynconfigTest, WhatAnotherManagerSaidIsLeftAside) {
  FakeManager manager;
  SetLimits(manager, 1);
  SchedulerConfig config = WithManager(manager);
  int port = 0;
  {
    Cluster cluster(config);
    const auto deadline = Clock::now() + testing::kPatience;
    while (CacheFiles().empty() && Clock::now() < deadline) std::this_thread::yield();
    port = cluster.scheduler().port();
  }
  manager.Stop();
  config.server.port = static_cast<uint16_t>(port);
  config.manager.addr = "127.0.0.1:1";
  Cluster again(config);
  for (const char* const peer : {"a", "b"}) Complete(again, peer);
  auto talk = again.TalkFromNewHost("child");
  talk->Register();
  EXPECT_EQ(talk->Parents().candidate_parents_size(), 2);
}

TEST_F(DynconfigTest, ServesPeersWhileTheManagerIsAway) {
  SchedulerConfig config = Config();
  config.manager.addr = "127.0.0.1:1";
  Cluster cluster(config);
  Complete(cluster, "peer");
  EXPECT_EQ(cluster.StatTask().second.state(), "Succeeded");
}

TEST_F(DynconfigTest, AsksASeedThatTheManagerListsBeforeItHasAnnouncedItself) {
  FakeSeed seed;
  FakeManager manager;
  manager.Change([&](manager::v2::Scheduler& scheduler, manager::v2::ListApplicationsResponse&) {
    manager::v2::SeedPeer& listed = *scheduler.add_seed_peers();
    listed.set_hostname("seed");
    listed.set_ip("127.0.0.1");
    listed.set_port(seed.port());
    listed.set_download_port(seed.port());
    listed.set_type("super");
    listed.mutable_seed_peer_cluster()->set_config("{\"load_limit\":7}");
  });
  Cluster cluster(WithManager(manager));
  const auto hosts = [&] {
    api::ListHostsResponse response;
    EXPECT_TRUE(cluster.Call(&api::Scheduler::Stub::ListHosts, api::ListHostsRequest(), &response).ok());
    return response;
  };
  const auto await_hosts = [&](int count) {
    const auto deadline = Clock::now() + testing::kPatience;
    while (hosts().hosts_size() != count && Clock::now() < deadline) std::this_thread::yield();
    return hosts().hosts_size() == count;
  };
  ASSERT_TRUE(await_hosts(1));
  EXPECT_EQ(hosts().hosts(0).id(), "127.0.0.1-seed-seed");
  EXPECT_EQ(hosts().hosts(0).type(), 1u);
  auto talk = cluster.TalkFromNewHost("peer");
  talk->Register();
  EXPECT_EQ(seed.AwaitRequests(1).size(), 1u);
  seed.Release(grpc::Status::OK);

  // One that the manager lists no more goes, unless it speaks for itself.
  manager.Change(
      [](manager::v2::Scheduler& scheduler, manager::v2::ListApplicationsResponse&) { scheduler.clear_seed_peers(); });
  EXPECT_TRUE(await_hosts(1));
  EXPECT_EQ(hosts().hosts(0).id(), "host-peer");
}

TEST_F(DynconfigTest, TakesThePriorityOfAnApplication) {
  FakeManager manager;
  manager.Change([](manager::v2::Scheduler&, manager::v2::ListApplicationsResponse& list) {
    manager::v2::Application& application = *list.add_applications();
    application.set_name("ml");
    application.mutable_priority()->set_value(common::v2::LEVEL1);
    manager::v2::URLPriority& rule = *application.mutable_priority()->add_urls();
    rule.set_regex("/models/.*");
    rule.set_value(common::v2::LEVEL3);
  });
  Cluster cluster(WithManager(manager));
  const auto end = [&](const std::string& peer, const std::string& url, common::v2::Priority own) {
    auto talk = cluster.TalkFromNewHost(peer, "task-" + peer);
    common::v2::Download download = Conversation::Download();
    download.set_application("ml");
    download.set_url(url);
    download.set_priority(own);
    talk->Register(download);
    const auto answer = talk->Answer();
    return answer.has_value() ? std::string("back to source") : std::string(talk->End().error_message());
  };
  const auto deadline = Clock::now() + testing::kPatience;
  int peer = 0;
  while (end(StrCat("wait", ++peer), "http://origin/other", common::v2::LEVEL0) != "LEVEL1 peer is forbidden" &&
         Clock::now() < deadline) {
  }
  EXPECT_EQ(end("a", "http://origin/other", common::v2::LEVEL0), "LEVEL1 peer is forbidden");
  EXPECT_EQ(end("b", "http://origin/models/x", common::v2::LEVEL0), "back to source");
  EXPECT_EQ(end("c", "http://origin/other", common::v2::LEVEL2), "LEVEL2 peer not found candidate peers");
  EXPECT_EQ(end("d", "http://origin/other", common::v2::LEVEL3), "back to source");
}

// dynconfig.yaml, dragonfly v2.5.1.
TEST_F(DynconfigTest, WithoutAManagerTheFileIsReadAgain) {
  SchedulerConfig config = Config();
  config.dynconfig.path = dir_.Write("dynconfig.yaml", "schedulerClusterConfig: {candidateParentLimit: 1}\n");
  Cluster cluster(config);
  for (const char* const peer : {"a", "b", "c"}) Complete(cluster, peer);
  EXPECT_TRUE(AwaitParents(cluster, 1));
  dir_.Write("dynconfig.yaml", "schedulerClusterConfig: {candidateParentLimit: 2}\n");
  EXPECT_TRUE(AwaitParents(cluster, 2));
}

TEST_F(DynconfigTest, AWrongFileStopsTheStartAndAMissingOneDoesNot) {
  runtime::IoThreads io(1);
  SchedulerConfig config = Config();
  config.dynconfig.path = dir_.Write("dynconfig.yaml", "schedulerClusterConfig: {candidateParentLimit: 0}\n");
  const auto wrong = Scheduler::Start(config, io);
  ASSERT_FALSE(wrong.ok());
  EXPECT_THAT(wrong.status().ToString(),
              HasSubstr("dynconfig.yaml:1: schedulerClusterConfig.candidateParentLimit: must be at least 1"));
  config.dynconfig.path = "/nowhere/dynconfig.yaml";
  auto missing = Scheduler::Start(config, io);
  ASSERT_TRUE(missing.ok()) << missing.status();
  (*missing)->Stop(Clock::now());
}

}  // namespace
}  // namespace dragonfly::scheduler
