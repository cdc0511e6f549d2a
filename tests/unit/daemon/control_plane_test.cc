// SPDX-License-Identifier: Apache-2.0
// Whole daemons with a manager, with mutual TLS, and with what can be wrong about both; the scheduler is the real one.
#include "daemon/control_plane.h"

#include <gmock/gmock.h>
#include <grpcpp/create_channel.h>
#include <grpcpp/security/credentials.h>
#include <gtest/gtest.h>

#include <fstream>
#include <functional>
#include <memory>
#include <string>
#include <vector>

#include "base/status.h"
#include "base/text.h"
#include "dfdaemon/v2/dfdaemon.grpc.pb.h"
#include "scheduler/config.h"
#include "scheduler/scheduler.h"
#include "scheduler/v2/scheduler.grpc.pb.h"
#include "tests/unit/daemon/daemon_fixture.h"
#include "tests/unit/daemon/scripted_manager.h"
#include "tests/unit/daemon/scripted_origin.h"
#include "tests/unit/daemon/scripted_scheduler.h"
#include "tests/unit/rpc/tls_fixture.h"

namespace dragonfly::daemon {
namespace {

using test::Download;
using test::HttpCall;
using test::In;
using test::kPatience;
using test::RandomBytes;
using test::ReadFile;
using test::ScriptedManager;
using test::ScriptedScheduler;
using ::testing::Contains;
using ::testing::HasSubstr;

class ControlPlaneTest : public test::DaemonFixture {
 protected:
  ~ControlPlaneTest() override {
    if (scheduler_ != nullptr) scheduler_->Stop(Clock::now());
  }

  std::string StartScheduler(const rpc::TlsFiles& tls = rpc::TlsFiles()) {
    scheduler::SchedulerConfig config;
    config.server.listen_ip = "127.0.0.1";
    config.server.port = 0;
    config.server.cache_dir = dir_.path() + "/scheduler";
    config.server.tls.ca_cert = config.seed_peer.tls.ca_cert = config.peer.tls.ca_cert = tls.ca_cert;
    config.server.tls.cert = config.seed_peer.tls.cert = config.peer.tls.cert = tls.cert;
    config.server.tls.key = config.seed_peer.tls.key = config.peer.tls.key = tls.key;
    auto started = scheduler::Scheduler::Start(config, io_);
    EXPECT_TRUE(started.ok()) << started.status();
    if (started.ok()) scheduler_ = *std::move(started);
    return StrCat("127.0.0.1:", scheduler_->port());
  }

  DaemonConfig WithManager(const std::string& name, const std::string& addr, bool seed = false) const {
    DaemonConfig config = Config(name, "", seed);
    config.manager.addr = addr;
    return config;
  }

  static DaemonConfig::TlsFiles Files(const rpc::TlsFiles& tls) {
    DaemonConfig::TlsFiles files;
    files.ca_cert = tls.ca_cert;
    files.cert = tls.cert;
    files.key = tls.key;
    return files;
  }
  // TLS on every link, pieces by gRPC.
  DaemonConfig WithTls(DaemonConfig config, const rpc::TlsFiles& tls) const {
    config.scheduler.tls = config.upload.client_tls = Files(tls);
    config.upload.ca_cert = tls.ca_cert;
    config.upload.cert = tls.cert;
    config.upload.key = tls.key;
    config.download.protocol = "grpc";
    return config;
  }

  std::string ReadinessOf(const Daemon& daemon) {
    const auto answer = HttpCall(daemon.health_port(), "GET", "/readyz");
    EXPECT_EQ(answer.status, 200);
    return answer.body;
  }
  absl::Status DownloadTo(const Daemon& daemon, const std::string& url, const std::string& name) {
    return Download(daemon.socket_path(), url, dir_.path() + "/" + name);
  }
  std::string Downloaded(const std::string& name) const { return ReadFile(dir_.path() + "/" + name); }

  rpc::TestAuthority authority_{dir_.path(), "cluster"};
  std::unique_ptr<scheduler::Scheduler> scheduler_;
};

TEST_F(ControlPlaneTest, FindsTheSchedulerThroughTheManager) {
  const ScriptedOrigin origin(RandomBytes((9 << 20) + 7));
  StartScheduler();
  ScriptedManager manager;
  manager.AddScheduler(scheduler_->port(), 1);
  const auto seed = Start(WithManager("seed", manager.addr(), /*seed=*/true));
  const auto a = Start(WithManager("a", manager.addr())), b = Start(WithManager("b", manager.addr()));
  ASSERT_TRUE(seed != nullptr && a != nullptr && b != nullptr);
  EXPECT_EQ(a->scheduler_count(), 1u);
  EXPECT_THAT(ReadinessOf(*a), HasSubstr("1 serve"));
  for (const Daemon* daemon : {a.get(), b.get()}) {
    const std::string& name = daemon->identity().hostname;
    const absl::Status status = DownloadTo(*daemon, origin.Url(), name + ".out");
    ASSERT_TRUE(status.ok()) << status;
    EXPECT_TRUE(Downloaded(name + ".out") == origin.content());
  }
  EXPECT_EQ(origin.bytes_read(), origin.content().size());

  ASSERT_TRUE(manager.WaitForEvent("active seed 127.0.0.1 1"));
  EXPECT_EQ(manager.updates()[0].port(), seed->upload_port());
  EXPECT_TRUE(seed->Stop(In(kPatience)).ok());
  EXPECT_THAT(manager.events(), Contains("delete seed 127.0.0.1 1"));
  for (const auto& update : manager.updates()) EXPECT_EQ(update.hostname(), "seed");
}

TEST_F(ControlPlaneTest, ObeysTheBlockListOfTheManager) {
  const ScriptedOrigin origin(RandomBytes(100'000));
  StartScheduler();
  ScriptedManager manager;
  manager.AddScheduler(scheduler_->port(), 1,
                       StrCat(R"({"block_list":{"task":{"download":{"urls":[")", origin.Url(), R"("]}}}})"));
  DaemonConfig config = WithManager("peer", manager.addr());
  config.dynconfig.refresh_interval = absl::Milliseconds(20);
  const auto daemon = Start(config);
  ASSERT_NE(daemon, nullptr);
  absl::Status status = DownloadTo(*daemon, origin.Url(), "out");
  EXPECT_TRUE(absl::IsPermissionDenied(status)) << status;
  EXPECT_EQ(status.message(), "download rejected by blocklist policy");
  EXPECT_EQ(origin.bytes_read(), 0u);

  manager.RemoveSchedulers();
  manager.AddScheduler(scheduler_->port(), 1, "{}");
  ASSERT_TRUE(manager.WaitForLists(manager.lists().size() + 2));
  status = DownloadTo(*daemon, origin.Url(), "out");
  ASSERT_TRUE(status.ok()) << status;
  EXPECT_TRUE(Downloaded("out") == origin.content());
}

TEST_F(ControlPlaneTest, ServesWithoutItsManagerAndSaysSo) {
  const ScriptedOrigin origin(RandomBytes(100'000));
  ScriptedScheduler scheduler;
  ScriptedManager manager;
  manager.AddScheduler(scheduler.port(), 1);
  const int port = manager.port();
  manager.Stop();
  const auto daemon = Start(WithManager("peer", manager.addr(), /*seed=*/true));
  ASSERT_NE(daemon, nullptr);
  EXPECT_THAT(ReadinessOf(*daemon), HasSubstr(StrCat("manager ", manager.addr(), ": Connection refused")));
  const absl::Status status = DownloadTo(*daemon, origin.Url(), "out");
  ASSERT_TRUE(status.ok()) << status;
  EXPECT_TRUE(Downloaded("out") == origin.content());

  manager.Start(port);
  EXPECT_TRUE(scheduler.WaitForAnnouncements(1));
  EXPECT_TRUE(manager.WaitForEvent("active peer 127.0.0.1 1"));
}

TEST_F(ControlPlaneTest, TheManagerMayGoAfterTheStart) {
  ScriptedScheduler scheduler;
  ScriptedManager manager;
  manager.AddScheduler(scheduler.port(), 1);
  DaemonConfig config = WithManager("peer", manager.addr());
  config.dynconfig.refresh_interval = absl::Milliseconds(20);
  const auto daemon = Start(config);
  ASSERT_NE(daemon, nullptr);
  manager.Stop();
  std::string text;
  for (const TimePoint deadline = In(kPatience); Clock::now() < deadline;) {
    text = ReadinessOf(*daemon);
    if (text.find("manager") != std::string::npos) break;
  }
  EXPECT_THAT(text, HasSubstr("manager " + manager.addr()));
  EXPECT_THAT(text, HasSubstr("1 serve"));
  EXPECT_EQ(daemon->scheduler_count(), 1u);
}

TEST_F(ControlPlaneTest, FollowsTheDynconfigFile) {
  ScriptedScheduler first, second;
  DaemonConfig config = Config("peer");
  config.dynconfig.path = dir_.path() + "/dynconfig.yaml";
  const auto write = [&](const std::string& address) {
    std::ofstream(config.dynconfig.path) << "scheduler: {addrs: ['" << address << "']}\n";
  };
  write(first.address());
  const auto daemon = Start(config);
  ASSERT_NE(daemon, nullptr);
  EXPECT_EQ(first.announcements().size(), 1u);
  write(second.address());
  EXPECT_TRUE(second.WaitForAnnouncements(1));
  EXPECT_TRUE(daemon->Stop(In(kPatience)).ok());
  EXPECT_EQ(second.deleted_hosts().size(), 1u);
}

// One scheduler that never answers keeps no other from being told, and the stop within its bounds.
TEST_F(ControlPlaneTest, LeavesEverySchedulerInTime) {
  ScriptedScheduler a, b;
  a.HoldDeletes();
  b.HoldDeletes();
  DaemonConfig config = Config("peer");
  config.scheduler.addrs = {a.address(), b.address()};
  const auto daemon = Start(config);
  ASSERT_NE(daemon, nullptr);
  ASSERT_TRUE(a.WaitForAnnouncements(1) && b.WaitForAnnouncements(1));
  ASSERT_EQ(daemon->scheduler_count(), 2u);
  const TimePoint begin = Clock::now();
  daemon->Stop(In(kPatience)).IgnoreError();
  EXPECT_LT(Clock::now() - begin, kPatience / 2);
  EXPECT_EQ(a.deleted_hosts().size(), 1u);
  EXPECT_EQ(b.deleted_hosts().size(), 1u);
  a.ReleaseDeletes();
  b.ReleaseDeletes();
}

TEST_F(ControlPlaneTest, SpeaksMutualTlsOnEveryLink) {
  const ScriptedOrigin origin(RandomBytes((9 << 20) + 7));
  const std::string address = StartScheduler(authority_.Issue("scheduler"));
  const auto seed = Start(WithTls(Config("seed", address, /*seed=*/true), authority_.Issue("seed")));
  const auto a = Start(WithTls(Config("a", address), authority_.Issue("a")));
  const auto b = Start(WithTls(Config("b", address), authority_.Issue("b")));
  ASSERT_TRUE(seed != nullptr && a != nullptr && b != nullptr);
  EXPECT_EQ(a->scheduler_count(), 1u);
  for (const Daemon* daemon : {a.get(), b.get()}) {
    const std::string& name = daemon->identity().hostname;
    const absl::Status status = DownloadTo(*daemon, origin.Url(), name + ".out");
    ASSERT_TRUE(status.ok()) << status;
    EXPECT_TRUE(Downloaded(name + ".out") == origin.content());
  }
  // The rest came from peers.
  EXPECT_EQ(origin.bytes_read(), origin.content().size());
}

TEST_F(ControlPlaneTest, WithoutCertificatesThereIsNoSchedulerButTheOrigin) {
  const ScriptedOrigin origin(RandomBytes(100'000));
  const std::string address = StartScheduler(authority_.Issue("scheduler"));
  const auto daemon = Start(Config("plain", address));
  ASSERT_NE(daemon, nullptr);
  EXPECT_EQ(daemon->scheduler_count(), 0u);
  EXPECT_THAT(ReadinessOf(*daemon), AllOf(HasSubstr("scheduler " + address), HasSubstr("the server wants TLS")));
  const absl::Status status = DownloadTo(*daemon, origin.Url(), "out");
  ASSERT_TRUE(status.ok()) << status;
  EXPECT_TRUE(Downloaded("out") == origin.content());
}

TEST_F(ControlPlaneTest, CertificatesForASchedulerWithoutTlsAreNoConnection) {
  const std::string address = StartScheduler();
  const auto daemon = Start(WithTls(Config("secure", address), authority_.Issue("secure")));
  ASSERT_NE(daemon, nullptr);
  EXPECT_EQ(daemon->scheduler_count(), 0u);
  EXPECT_THAT(ReadinessOf(*daemon), HasSubstr("the server does not speak TLS"));
}

TEST_F(ControlPlaneTest, NamesTheAuthorityThatIsWrong) {
  const std::string address = StartScheduler(authority_.Issue("scheduler"));
  rpc::TestAuthority stranger(dir_.path(), "stranger");
  const rpc::TlsFiles files = stranger.Issue("peer");
  const auto daemon = Start(WithTls(Config("peer", address), files));
  ASSERT_NE(daemon, nullptr);
  EXPECT_THAT(ReadinessOf(*daemon), HasSubstr("check against scheduler.caCert " + files.ca_cert));
}

// A child that a parent does not let in fetches from the origin.
TEST_F(ControlPlaneTest, AChildThatParentsRefuseReadsTheOrigin) {
  const ScriptedOrigin origin(RandomBytes((5 << 20) + 7));
  const std::string address = StartScheduler(authority_.Issue("scheduler"));
  const auto parent = Start(WithTls(Config("parent", address), authority_.Issue("parent")));
  DaemonConfig config = WithTls(Config("child", address), authority_.Issue("child"));
  config.upload.client_tls = DaemonConfig::TlsFiles();
  const auto child = Start(config);
  ASSERT_TRUE(parent != nullptr && child != nullptr);
  ASSERT_TRUE(DownloadTo(*parent, origin.Url(), "first").ok());
  const absl::Status status = DownloadTo(*child, origin.Url(), "second");
  ASSERT_TRUE(status.ok()) << status;
  EXPECT_TRUE(Downloaded("second") == origin.content());
  EXPECT_GE(origin.bytes_read(), 2 * origin.content().size());
}

TEST_F(ControlPlaneTest, TheStartNamesTheKeyAndTheFileThatIsWrong) {
  const rpc::TlsFiles good = authority_.Issue("peer");
  const rpc::TlsFiles expired = authority_.Issue("old", "IP:127.0.0.1", /*valid_for=*/-60);
  const std::string missing = dir_.path() + "/none.pem";
  const auto fails = [&](const std::function<void(DaemonConfig&)>& spoil) {
    DaemonConfig config = WithTls(Config("peer"), good);
    config.manager.addr = "https://127.0.0.1:1";
    config.manager.tls = Files(good);
    spoil(config);
    const auto started = TryStart(config);
    EXPECT_FALSE(started.ok());
    return std::string(MessageOf(started.status()));
  };
  EXPECT_THAT(fails([&](DaemonConfig& config) { config.scheduler.tls.key = missing; }),
              HasSubstr("scheduler.key " + missing + ": No such file"));
  EXPECT_THAT(fails([&](DaemonConfig& config) { config.upload.client_tls.cert = ""; }),
              HasSubstr("upload.client needs all of caCert, cert and key, or none of them: cert is not given"));
  EXPECT_THAT(fails([&](DaemonConfig& config) { config.upload.key = missing; }),
              HasSubstr("upload.server.key " + missing));
  EXPECT_THAT(fails([&](DaemonConfig& config) { config.manager.tls = Files(expired); }),
              HasSubstr("manager.cert " + expired.cert + ": the certificate has expired"));
  EXPECT_THAT(fails([&](DaemonConfig& config) { config.manager.tls = DaemonConfig::TlsFiles(); }),
              HasSubstr("https needs manager.caCert"));
}

// The scheduler itself calls peers: to let one keep a replica, and to let it go.
TEST_F(ControlPlaneTest, ASchedulerReachesPeersThatSpeakTlsOnly) {
  const std::string address = StartScheduler(authority_.Issue("scheduler"));
  std::vector<std::unique_ptr<Daemon>> peers;
  for (const std::string name : {"a", "b"}) {
    DaemonConfig config = WithTls(Config(name, address), authority_.Issue(name));
    config.gc.high_percent = 99;
    peers.push_back(Start(config));
    ASSERT_NE(peers.back(), nullptr);
  }
  const auto stub_of = [](const Daemon& daemon) {
    return dfdaemon::v2::DfdaemonDownload::NewStub(
        grpc::CreateChannel("unix:" + daemon.socket_path(), grpc::InsecureChannelCredentials()));
  };
  const auto call = [](auto& stub, auto method, const auto& request, auto* response) {
    grpc::ClientContext context;
    context.set_deadline(std::chrono::system_clock::now() + kPatience);
    return (stub.*method)(&context, request, response);
  };
  using Local = dfdaemon::v2::DfdaemonDownload::Stub;
  const std::string path = dir_.path() + "/original";
  std::ofstream(path, std::ios::binary) << RandomBytes((5 << 20) + 1);
  dfdaemon::v2::UploadPersistentCacheTaskRequest import;
  import.set_path(path);
  import.set_persistent_replica_count(2);
  common::v2::PersistentCacheTask task;
  const grpc::Status imported = call(*stub_of(*peers[0]), &Local::UploadPersistentCacheTask, import, &task);
  ASSERT_TRUE(imported.ok()) << imported.error_message();

  dfdaemon::v2::StatLocalPersistentCacheTaskRequest about;
  about.set_task_id(task.id());
  const auto await_copy = [&](bool there) {
    const TimePoint deadline = In(kPatience);
    dfdaemon::v2::StatLocalPersistentCacheTaskResponse copy;
    bool has = !there;
    do {
      copy.Clear();
      const grpc::Status found = call(*stub_of(*peers[1]), &Local::StatLocalPersistentCacheTask, about, &copy);
      has = found.ok() && copy.has_finished_at() && copy.persistent();
    } while (has != there && Clock::now() < deadline);
    return has == there;
  };
  EXPECT_TRUE(await_copy(true)) << "the scheduler has a second replica made";
  // Deleted at the scheduler, which tells each peer.
  const auto credentials = [&] {
    const rpc::TlsFiles own = authority_.Issue("operator");
    grpc::SslCredentialsOptions options;
    options.pem_root_certs = ReadFile(own.ca_cert);
    options.pem_cert_chain = ReadFile(own.cert);
    options.pem_private_key = ReadFile(own.key);
    return grpc::SslCredentials(options);
  }();
  const auto at_the_scheduler = ::scheduler::v2::Scheduler::NewStub(grpc::CreateChannel(address, credentials));
  ::scheduler::v2::DeletePersistentCacheTaskRequest gone;
  gone.set_host_id("operator");
  gone.set_task_id(task.id());
  google::protobuf::Empty nothing;
  const grpc::Status deleted =
      call(*at_the_scheduler, &::scheduler::v2::Scheduler::Stub::DeletePersistentCacheTask, gone, &nothing);
  EXPECT_TRUE(deleted.ok()) << deleted.error_message();
  EXPECT_TRUE(await_copy(false));
}

}  // namespace
}  // namespace dragonfly::daemon
