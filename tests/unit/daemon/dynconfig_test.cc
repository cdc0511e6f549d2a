// SPDX-License-Identifier: Apache-2.0
#include "daemon/dynconfig.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <filesystem>
#include <fstream>

#include "base/status.h"
#include "daemon/config.h"
#include "daemon/file_dynconfig.h"
#include "daemon/manager_dynconfig.h"
#include "daemon/manager_link.h"
#include "runtime/io_threads.h"
#include "tests/support/temp_dir.h"
#include "tests/unit/daemon/scripted_manager.h"
#include "tests/unit/daemon/scripted_scheduler.h"
#include "tests/unit/rpc/tls_fixture.h"

namespace dragonfly::daemon {
namespace {

using dragonfly::testing::TempDir;
using test::Await;
using test::In;
using test::kPatience;
using test::ScriptedManager;
using test::ScriptedScheduler;
using ::testing::ElementsAre;
using ::testing::HasSubstr;
using ::testing::IsEmpty;
using ::testing::UnorderedElementsAre;

constexpr auto kShort = std::chrono::milliseconds(20);

bool BlocksTag(const Dynconfig& dynconfig, std::string_view tag) {
  BlockQuery query;
  query.tag = tag;
  return dynconfig.block_lists()()->task.download.Matches(query);
}

// Waits until `done()` holds, looking again at every change of `dynconfig`.
template <typename Done>
bool WaitFor(boost::asio::io_context& io, const Dynconfig& dynconfig, Done done) {
  const runtime::Signal changes = dynconfig.changes();
  const TimePoint deadline = In(kPatience);
  for (;;) {
    const uint64_t seen = changes.version();
    if (done()) return true;
    if (!Await(io, changes.Wait(seen, deadline))) return done();
  }
}

TEST(StaticDynconfig, TellsItsAddresses) {
  runtime::IoThreads io(1);
  const StaticDynconfig dynconfig({"10.0.0.1:8002"});
  Await(io.At(0), dynconfig.WaitForFirstTry());
  EXPECT_THAT(dynconfig.data()->scheduler_addrs, ElementsAre("10.0.0.1:8002"));
  EXPECT_TRUE(dynconfig.data()->block_list->empty());
  EXPECT_TRUE(dynconfig.health().ok());
}

class FileDynconfigTest : public ::testing::Test {
 protected:
  ~FileDynconfigTest() override {
    if (dynconfig_ != nullptr) Await(io_.At(0), dynconfig_->Stop());
  }

  absl::Status Open(const std::string& path, bool seed = false) {
    FileDynconfigOptions options;
    options.path = path;
    options.seed = seed;
    options.look_interval = kShort;
    auto made = FileDynconfig::Make(options, io_.At(0), blocking_);
    if (!made.ok()) return made.status();
    dynconfig_ = *std::move(made);
    dynconfig_->Start();
    return absl::OkStatus();
  }

  TempDir dir_;
  runtime::IoThreads io_{1};
  runtime::BlockingPool blocking_{1, 16};
  std::unique_ptr<FileDynconfig> dynconfig_;
};

TEST_F(FileDynconfigTest, ReadsWhereTheSchedulersAre) {
  const struct {
    std::string_view text;
    std::vector<std::string> addrs;
  } cases[] = {
      {"", {"dragonfly-scheduler:8002"}},
      {"scheduler: {addr: 'scheduler-headless.default.svc:8002'}", {"scheduler-headless.default.svc:8002"}},
      {"scheduler: {addr: 'a:1', addrs: ['192.168.1.10:8002', '[::1]:8002']}", {"192.168.1.10:8002", "[::1]:8002"}},
      {"scheduler: {addr: 'a:1', addrs: []}", {"a:1"}},
  };
  for (const auto& c : cases) {
    const auto loaded = LoadDynconfigFile(dir_.Write("dynconfig.yaml", std::string(c.text)), false);
    ASSERT_TRUE(loaded.ok()) << loaded.status();
    EXPECT_EQ(loaded->data.scheduler_addrs, c.addrs) << c.text;
    EXPECT_THAT(loaded->warnings, IsEmpty()) << c.text;
  }
}

TEST_F(FileDynconfigTest, TakesTheBlockListOfItsRole) {
  const std::string path = dir_.Write("dynconfig.yaml",
                                      "scheduler: {addrs: ['10.0.0.1:8002']}\n"
                                      "clientConfig: {blockList: {task: {download: {tags: [peer]}}}}\n"
                                      "seedClientConfig: {blockList: {task: {download: {tags: [seed]}}}}\n");
  for (const bool seed : {false, true}) {
    ASSERT_TRUE(Open(path, seed).ok());
    EXPECT_EQ(BlocksTag(*dynconfig_, "peer"), !seed);
    EXPECT_EQ(BlocksTag(*dynconfig_, "seed"), seed);
    Await(io_.At(0), dynconfig_->Stop());
    dynconfig_.reset();
  }
}

TEST_F(FileDynconfigTest, NamesFileLineAndKeyOfWhatIsWrong) {
  EXPECT_TRUE(absl::IsNotFound(Open((dir_.path() / "none.yaml").string())));
  const std::string path = dir_.Write("dynconfig.yaml", "scheduler:\n  addrs: [nowhere]\n");
  const absl::Status status = Open(path);
  EXPECT_EQ(status.code(), absl::StatusCode::kInvalidArgument);
  EXPECT_THAT(MessageOf(status), AllOf(HasSubstr(path + ":2"), HasSubstr("scheduler.addrs"), HasSubstr("no port")));
}

TEST_F(FileDynconfigTest, FollowsTheFile) {
  const std::string path = dir_.Write("dynconfig.yaml", "scheduler: {addrs: ['10.0.0.1:8002']}\n");
  ASSERT_TRUE(Open(path).ok());
  // Written in place.
  dir_.Write("dynconfig.yaml",
             "scheduler: {addrs: ['10.0.0.2:8002']}\nclientConfig: "
             "{blockList: {task: {download: {tags: [bad]}}}}\n");
  EXPECT_TRUE(WaitFor(io_.At(0), *dynconfig_, [&] { return BlocksTag(*dynconfig_, "bad"); }));
  EXPECT_THAT(dynconfig_->data()->scheduler_addrs, ElementsAre("10.0.0.2:8002"));
  // Replaced.
  std::filesystem::rename(dir_.Write("next", "scheduler: {addrs: ['10.0.0.3:8002']}\n"), path);
  EXPECT_TRUE(WaitFor(io_.At(0), *dynconfig_, [&] { return !BlocksTag(*dynconfig_, "bad"); }));
  EXPECT_THAT(dynconfig_->data()->scheduler_addrs, ElementsAre("10.0.0.3:8002"));
}

// A Kubernetes volume: dynconfig.yaml -> ..data/dynconfig.yaml, ..data -> a directory that is exchanged.
TEST_F(FileDynconfigTest, FollowsALinkThatTurnsElsewhere) {
  const auto write = [&](const std::string& version, const std::string& addr) {
    std::filesystem::create_directory(dir_.path() / version);
    dir_.Write(version + "/dynconfig.yaml", "scheduler: {addrs: ['" + addr + "']}\n");
  };
  write("v1", "10.0.0.1:8002");
  write("v2", "10.0.0.2:8002");
  std::filesystem::create_symlink("v1", dir_.path() / "..data");
  std::filesystem::create_symlink("..data/dynconfig.yaml", dir_.path() / "dynconfig.yaml");
  ASSERT_TRUE(Open((dir_.path() / "dynconfig.yaml").string()).ok());
  EXPECT_THAT(dynconfig_->data()->scheduler_addrs, ElementsAre("10.0.0.1:8002"));
  std::filesystem::create_symlink("v2", dir_.path() / "..data_tmp");
  std::filesystem::rename(dir_.path() / "..data_tmp", dir_.path() / "..data");
  const std::vector<std::string> wanted = {"10.0.0.2:8002"};
  EXPECT_TRUE(WaitFor(io_.At(0), *dynconfig_, [&] { return dynconfig_->data()->scheduler_addrs == wanted; }));
}

TEST_F(FileDynconfigTest, AMistakeLeavesTheDataOfBeforeInForce) {
  const std::string path = dir_.Write(
      "dynconfig.yaml",
      "scheduler: {addrs: ['10.0.0.1:8002']}\nclientConfig: {blockList: {task: {download: {tags: [bad]}}}}\n");
  ASSERT_TRUE(Open(path).ok());
  dir_.Write("dynconfig.yaml", "scheduler: {addrs: [nowhere]}\n");
  for (const TimePoint deadline = In(kPatience); dynconfig_->health().ok() && Clock::now() < deadline;) {
    std::this_thread::yield();
  }
  EXPECT_THAT(MessageOf(dynconfig_->health()), HasSubstr("scheduler.addrs"));
  EXPECT_TRUE(BlocksTag(*dynconfig_, "bad"));
  EXPECT_THAT(dynconfig_->data()->scheduler_addrs, ElementsAre("10.0.0.1:8002"));

  std::filesystem::remove(path);
  for (const TimePoint deadline = In(kPatience); !absl::IsNotFound(dynconfig_->health()) && Clock::now() < deadline;) {
    std::this_thread::yield();
  }
  EXPECT_TRUE(absl::IsNotFound(dynconfig_->health())) << dynconfig_->health();
  EXPECT_TRUE(BlocksTag(*dynconfig_, "bad"));
}

TEST(ManagerAddress, IsAUrl) {
  const auto target = [](std::string_view addr) {
    const auto parsed = ParseManagerAddress(addr);
    return parsed.ok() ? parsed->target + (parsed->tls ? " tls" : "") : std::string(MessageOf(parsed.status()));
  };
  EXPECT_EQ(target("http://manager.example:65003"), "manager.example:65003");
  EXPECT_EQ(target("https://10.0.0.1:65003/"), "10.0.0.1:65003 tls");
  EXPECT_EQ(target("http://[fd00::1]:65003"), "[fd00::1]:65003");
  EXPECT_EQ(target("https://manager"), "manager:443 tls");
  for (const char* addr : {"manager:65003", "10.0.0.1:65003", "ftp://manager", "http://", "http://m:1/path", ""}) {
    EXPECT_THAT(target(addr), ::testing::StartsWith("manager.addr")) << addr;
  }
  EXPECT_THAT(target("http://user:secret@m:1"), Not(HasSubstr("secret")));
}

class ManagerDynconfigTest : public ::testing::Test {
 protected:
  ~ManagerDynconfigTest() override {
    if (dynconfig_ != nullptr) Await(io_.At(0), dynconfig_->Stop());
  }

  void Ask(const std::string& addr, ManagerDynconfigOptions options = ManagerDynconfigOptions(),
           rpc::TlsFiles tls = rpc::TlsFiles()) {
    auto link = ManagerLink::Make(addr, tls);
    ASSERT_TRUE(link.ok()) << link.status();
    link_ = *std::move(link);
    options.hostname = "host-1";
    options.ip = "10.0.0.9";
    options.retry_min = kShort;
    dynconfig_ = std::make_unique<ManagerDynconfig>(options, *link_, io_.At(0), channels_, blocking_);
    dynconfig_->Start();
    Await(io_.At(0), dynconfig_->WaitForFirstTry(In(kPatience)));
  }
  bool WaitForAddrs(const std::vector<std::string>& addrs) {
    return WaitFor(io_.At(0), *dynconfig_, [&] { return dynconfig_->data()->scheduler_addrs == addrs; });
  }

  runtime::IoThreads io_{2};
  runtime::BlockingPool blocking_{2, 64};
  rpc::ChannelPool channels_{rpc::ChannelOptions()};
  std::unique_ptr<ManagerLink> link_;
  std::unique_ptr<ManagerDynconfig> dynconfig_;
};

TEST_F(ManagerDynconfigTest, SaysWhoAsks) {
  ScriptedManager manager;
  ManagerDynconfigOptions options;
  options.idc = "dc1";
  options.location = "eu|de";
  options.scheduler_cluster_id = 7;
  options.seed = true;
  Ask(manager.addr(), options);
  ASSERT_TRUE(manager.WaitForLists(1));
  const auto request = manager.lists()[0];
  EXPECT_EQ(request.source_type(), manager::v2::SEED_PEER_SOURCE);
  EXPECT_EQ(request.hostname(), "host-1");
  EXPECT_EQ(request.ip(), "10.0.0.9");
  EXPECT_EQ(request.idc(), "dc1");
  EXPECT_EQ(request.location(), "eu|de");
  EXPECT_FALSE(request.version().empty());
  EXPECT_FALSE(request.commit().empty());
  EXPECT_EQ(request.scheduler_cluster_id(), 7u);
}

// Managers refuse an empty idc.
TEST_F(ManagerDynconfigTest, LeavesOutWhatIsNotConfigured) {
  ScriptedManager manager;
  Ask(manager.addr());
  ASSERT_TRUE(manager.WaitForLists(1));
  EXPECT_EQ(manager.lists()[0].source_type(), manager::v2::PEER_SOURCE);
  EXPECT_FALSE(manager.lists()[0].has_idc());
  EXPECT_FALSE(manager.lists()[0].has_location());
  EXPECT_EQ(manager.lists()[0].scheduler_cluster_id(), 0u);
}

TEST_F(ManagerDynconfigTest, TheFirstThatServesFixesTheCluster) {
  ScriptedManager manager;
  ScriptedScheduler down, a, b, other;
  down.Stop();
  manager.AddScheduler(down.port(), 1);
  manager.AddScheduler(b.port(), 2);
  manager.AddScheduler(down.port(), 2);
  manager.AddScheduler(a.port(), 2);
  manager.AddScheduler(other.port(), 3);
  Ask(manager.addr());
  EXPECT_TRUE(dynconfig_->health().ok()) << dynconfig_->health();
  EXPECT_EQ(dynconfig_->data()->scheduler_cluster_id, 2u);
  // With the one that is down now: it may come back.
  EXPECT_THAT(dynconfig_->data()->scheduler_addrs, UnorderedElementsAre(a.address(), b.address(), down.address()));
}

// Managers before v2.3.1 do not know that a host may ask for one cluster.
TEST_F(ManagerDynconfigTest, KeepsToTheClusterThatIsConfigured) {
  ScriptedManager manager;
  ScriptedScheduler a, b;
  manager.AddScheduler(a.port(), 1);
  manager.AddScheduler(b.port(), 2);
  ManagerDynconfigOptions options;
  options.scheduler_cluster_id = 2;
  Ask(manager.addr(), options);
  EXPECT_THAT(dynconfig_->data()->scheduler_addrs, ElementsAre(b.address()));
}

TEST_F(ManagerDynconfigTest, TakesTheBlockListOfTheCluster) {
  ScriptedManager manager;
  ScriptedScheduler scheduler;
  manager.AddScheduler(scheduler.port(), 1, R"({"block_list":{"task":{"download":{"tags":["peer"]}}}})",
                       R"({"block_list":{"task":{"download":{"tags":["seed"]}}}})");
  for (const bool seed : {false, true}) {
    ManagerDynconfigOptions options;
    options.seed = seed;
    Ask(manager.addr(), options);
    EXPECT_EQ(BlocksTag(*dynconfig_, "peer"), !seed);
    EXPECT_EQ(BlocksTag(*dynconfig_, "seed"), seed);
    Await(io_.At(0), dynconfig_->Stop());
  }
}

TEST_F(ManagerDynconfigTest, FollowsTheManager) {
  ScriptedManager manager;
  ScriptedScheduler a, b;
  manager.AddScheduler(a.port(), 1, R"({"block_list":{"task":{"download":{"tags":["bad"]}}}})");
  ManagerDynconfigOptions options;
  options.refresh_interval = kShort;
  Ask(manager.addr(), options);
  EXPECT_TRUE(BlocksTag(*dynconfig_, "bad"));
  manager.RemoveSchedulers();
  manager.AddScheduler(b.port(), 2, "{}");
  EXPECT_TRUE(WaitForAddrs({b.address()}));
  EXPECT_FALSE(BlocksTag(*dynconfig_, "bad"));
}

TEST_F(ManagerDynconfigTest, AnErrorLeavesTheDataOfBeforeInForce) {
  ScriptedManager manager;
  ScriptedScheduler scheduler;
  manager.AddScheduler(scheduler.port(), 1, R"({"block_list":{"task":{"download":{"tags":["bad"]}}}})");
  ManagerDynconfigOptions options;
  options.refresh_interval = kShort;
  Ask(manager.addr(), options);
  manager.FailLists(grpc::Status(grpc::INTERNAL, "database is gone"));
  ASSERT_TRUE(manager.WaitForLists(manager.lists().size() + 3));
  EXPECT_THAT(MessageOf(dynconfig_->health()), HasSubstr("database is gone"));
  EXPECT_THAT(dynconfig_->data()->scheduler_addrs, ElementsAre(scheduler.address()));
  EXPECT_TRUE(BlocksTag(*dynconfig_, "bad"));
}

TEST_F(ManagerDynconfigTest, AListThatCannotBeReadLeavesTheOneOfBeforeInForce) {
  ScriptedManager manager;
  ScriptedScheduler scheduler;
  manager.AddScheduler(scheduler.port(), 1, R"({"block_list":{"task":{"download":{"tags":["bad"]}}}})");
  ManagerDynconfigOptions options;
  options.refresh_interval = kShort;
  Ask(manager.addr(), options);
  manager.RemoveSchedulers();
  manager.AddScheduler(scheduler.port(), 1, R"({"block_list":{"task":{"download":{"urls":["a(b"]}}}})");
  ASSERT_TRUE(manager.WaitForLists(manager.lists().size() + 3));
  EXPECT_TRUE(dynconfig_->health().ok());
  EXPECT_TRUE(BlocksTag(*dynconfig_, "bad"));
}

TEST_F(ManagerDynconfigTest, SaysWhatIsMissing) {
  ScriptedManager manager;
  Ask(manager.addr());
  EXPECT_TRUE(absl::IsNotFound(dynconfig_->health())) << dynconfig_->health();
  ScriptedScheduler down;
  down.Stop();
  manager.AddScheduler(down.port(), 1);
  for (const TimePoint deadline = In(kPatience);
       !absl::IsUnavailable(dynconfig_->health()) && Clock::now() < deadline;) {
    std::this_thread::yield();
  }
  EXPECT_THAT(MessageOf(dynconfig_->health()), HasSubstr("none of the 1 schedulers"));
}

TEST_F(ManagerDynconfigTest, FindsAManagerThatComesLater) {
  ScriptedManager manager;
  ScriptedScheduler scheduler;
  manager.AddScheduler(scheduler.port(), 1);
  const int port = manager.port();
  manager.Stop();
  Ask(StrCat("http://127.0.0.1:", port));
  EXPECT_TRUE(absl::IsUnavailable(dynconfig_->health()));
  EXPECT_THAT(MessageOf(dynconfig_->health()), HasSubstr("Connection refused"));
  EXPECT_EQ(dynconfig_->name(), StrCat("manager http://127.0.0.1:", port));
  manager.Start(port);
  EXPECT_TRUE(WaitForAddrs({scheduler.address()}));
  EXPECT_TRUE(dynconfig_->health().ok());
}

TEST_F(ManagerDynconfigTest, AsksAgainSoonWhenNoSchedulerServesAnyMore) {
  ScriptedManager manager;
  ScriptedScheduler a, b;
  manager.AddScheduler(a.port(), 1);
  manager.AddScheduler(b.port(), 2);
  ManagerDynconfigOptions options;
  options.refresh_interval = std::chrono::hours(1);
  Ask(manager.addr(), options);
  EXPECT_THAT(dynconfig_->data()->scheduler_addrs, ElementsAre(a.address()));
  a.Stop();
  dynconfig_->Suspect();
  EXPECT_TRUE(WaitForAddrs({b.address()}));
}

TEST_F(ManagerDynconfigTest, SpeaksMutualTls) {
  TempDir dir;
  rpc::TestAuthority authority(dir.path().string(), "site"), stranger(dir.path().string(), "stranger");
  ScriptedManager manager(authority.Issue("manager"));
  ScriptedScheduler scheduler;
  manager.AddScheduler(scheduler.port(), 1);
  Ask(manager.addr(), ManagerDynconfigOptions(), authority.Issue("daemon"));
  EXPECT_TRUE(dynconfig_->health().ok()) << dynconfig_->health();
  EXPECT_THAT(dynconfig_->data()->scheduler_addrs, ElementsAre(scheduler.address()));
  Await(io_.At(0), dynconfig_->Stop());

  rpc::TlsFiles wrong = stranger.Issue("daemon");
  wrong.section = "manager";
  Ask(manager.addr(), ManagerDynconfigOptions(), wrong);
  EXPECT_THAT(MessageOf(dynconfig_->health()), HasSubstr("check against manager.caCert " + wrong.ca_cert));
  Await(io_.At(0), dynconfig_->Stop());

  Ask(StrCat("http://127.0.0.1:", manager.port()));
  EXPECT_THAT(MessageOf(dynconfig_->health()), HasSubstr("wants TLS"));
}

TEST(ManagerLink, HttpsNeedsAllFiles) {
  EXPECT_THAT(MessageOf(ManagerLink::Make("https://m:1", rpc::TlsFiles()).status()), HasSubstr("manager.caCert"));
  rpc::TlsFiles part;
  part.section = "manager";
  part.cert = "/cert.pem";
  EXPECT_THAT(MessageOf(ManagerLink::Make("https://m:1", part).status()),
              HasSubstr("manager needs all of caCert, cert and key"));
}

LoadedConfig Loaded(const std::string& manager, std::vector<std::string> addrs) {
  LoadedConfig loaded;
  loaded.config.manager.addr = manager;
  loaded.config.scheduler.addrs = std::move(addrs);
  return loaded;
}

TEST(ResolveSchedulerAddrs, StaticAddressesWinOverAManager) {
  LoadedConfig loaded = Loaded("http://m:65003", {"10.0.0.1:8002"});
  ASSERT_TRUE(ResolveSchedulerAddrs("/nonexistent/dynconfig.yaml", loaded).ok());
  EXPECT_THAT(loaded.config.scheduler.addrs, ElementsAre("10.0.0.1:8002"));
  EXPECT_THAT(loaded.warnings, ElementsAre(HasSubstr("manager.addr")));
}

TEST(ResolveSchedulerAddrs, AManagerNeedsNoFile) {
  LoadedConfig loaded = Loaded("http://m:65003", {});
  EXPECT_TRUE(ResolveSchedulerAddrs("/nonexistent/dynconfig.yaml", loaded).ok());
  EXPECT_TRUE(loaded.config.dynconfig.path.empty());
  loaded = Loaded("m:65003", {});
  EXPECT_FALSE(ResolveSchedulerAddrs("/nonexistent/dynconfig.yaml", loaded).ok());
}

TEST(ResolveSchedulerAddrs, NothingConfiguredIsAClearError) {
  LoadedConfig loaded = Loaded("", {});
  const absl::Status status = ResolveSchedulerAddrs("/nonexistent/dynconfig.yaml", loaded);
  EXPECT_TRUE(absl::IsFailedPrecondition(status)) << status;
  EXPECT_THAT(MessageOf(status), HasSubstr("/nonexistent/dynconfig.yaml"));
}

TEST(ResolveSchedulerAddrs, TakesTheFileWhenNothingElseIsNamed) {
  const TempDir dir;
  const std::string path = dir.Write("dynconfig.yaml", "scheduler: {addrs: ['10.0.0.1:8002']}\n");
  LoadedConfig loaded = Loaded("", {});
  ASSERT_TRUE(ResolveSchedulerAddrs(path, loaded).ok());
  EXPECT_EQ(loaded.config.dynconfig.path, path);
  EXPECT_THAT(loaded.config.scheduler.addrs, ElementsAre("10.0.0.1:8002"));
  dir.Write("dynconfig.yaml", "scheduler: {addrs: [nowhere]}\n");
  loaded = Loaded("", {});
  EXPECT_THAT(MessageOf(ResolveSchedulerAddrs(path, loaded)), HasSubstr("scheduler.addrs"));
}

}  // namespace
}  // namespace dragonfly::daemon
