// SPDX-License-Identifier: Apache-2.0
#include "daemon/daemon.h"

#include <arpa/inet.h>
#include <gmock/gmock.h>
#include <grpcpp/create_channel.h>
#include <gtest/gtest.h>
#include <netinet/in.h>
#include <sys/socket.h>
#include <sys/un.h>

#include <chrono>
#include <filesystem>
#include <fstream>

#include "base/status.h"
#include "base/text.h"
#include "base/unique_fd.h"
#include "tests/unit/daemon/daemon_fixture.h"
#include "tests/unit/daemon/scripted_origin.h"
#include "tests/unit/daemon/scripted_scheduler.h"

namespace dragonfly::daemon {
namespace {

using test::Download;
using test::HttpCall;
using test::In;
using test::RandomBytes;
using test::ReadFile;
using test::ScriptedScheduler;
using ::testing::ElementsAre;
using ::testing::HasSubstr;

constexpr auto kSecond = std::chrono::seconds(1);

class DaemonTest : public test::DaemonFixture {};

TEST_F(DaemonTest, ServesAllThatItSays) {
  const auto daemon = Start(Config("peer"));
  ASSERT_NE(daemon, nullptr);
  EXPECT_EQ(daemon->identity().host_id, "127.0.0.1-peer");
  EXPECT_FALSE(daemon->identity().seed);
  EXPECT_NE(daemon->upload_port(), 0);
  EXPECT_NE(daemon->vortex_port(), 0);
  EXPECT_EQ(HttpCall(daemon->health_port(), "GET", "/healthy").status, 200);
  EXPECT_EQ(HttpCall(daemon->health_port(), "GET", "/other").status, 404);
  const auto page = HttpCall(daemon->metrics_port(), "GET", "/metrics");
  EXPECT_EQ(page.status, 200);
  EXPECT_THAT(page.body, HasSubstr("dragonfly_client_version{"));
  EXPECT_THAT(page.body, HasSubstr("dragonfly_client_disk_space_total "));
  EXPECT_EQ(HttpCall(daemon->metrics_port(), "DELETE", "/metrics").status, 200);
  EXPECT_THAT(HttpCall(daemon->metrics_port(), "GET", "/metrics").body, HasSubstr("dragonfly_client_version{"));
  EXPECT_EQ(HttpCall(daemon->stats_port(), "GET", "/debug/pprof/profile?seconds=x").status, 400);
  const auto readiness = HttpCall(daemon->health_port(), "GET", "/readyz");
  EXPECT_EQ(readiness.status, 200);
  EXPECT_THAT(readiness.body, HasSubstr("ready\nok servers: all serve\n"));
  EXPECT_THAT(readiness.body, HasSubstr("\nok disk: "));
  EXPECT_TRUE(std::filesystem::is_socket(daemon->socket_path()));
  EXPECT_TRUE(daemon->Stop(In(kSecond)).ok());
  EXPECT_FALSE(std::filesystem::exists(daemon->socket_path()));
}

TEST_F(DaemonTest, DownloadsFromTheOriginWithoutAScheduler) {
  const ScriptedOrigin origin(RandomBytes((9 << 20) + 7));
  const auto daemon = Start(Config("peer"));
  ASSERT_NE(daemon, nullptr);
  const std::string output = dir_.path() + "/out";
  const absl::Status status = Download(daemon->socket_path(), origin.Url(), output);
  ASSERT_TRUE(status.ok()) << status;
  EXPECT_TRUE(ReadFile(output) == origin.content());
  EXPECT_EQ(origin.reads_of_any_byte(), 1);
  EXPECT_EQ(origin.bytes_read(), origin.content().size());
}

TEST_F(DaemonTest, AnnouncesItsBoundPortsAndLeavesWhenItStops) {
  ScriptedScheduler scheduler;
  const auto daemon = Start(Config("seed", scheduler.address(), /*seed=*/true));
  ASSERT_NE(daemon, nullptr);
  // The start waits for it.
  ASSERT_EQ(scheduler.announcements().size(), 1u);
  const common::v2::Host host = scheduler.announcements()[0].host();
  EXPECT_EQ(host.id(), "127.0.0.1-seed-seed");
  EXPECT_EQ(host.type(), 1u);
  EXPECT_EQ(host.port(), daemon->upload_port());
  EXPECT_EQ(host.download_port(), daemon->upload_port());
  EXPECT_EQ(host.proxy_port(), daemon->proxy_port());
  EXPECT_EQ(daemon->scheduler_count(), 1u);
  EXPECT_TRUE(daemon->Stop(In(kSecond)).ok());
  EXPECT_THAT(scheduler.deleted_hosts(), ElementsAre("127.0.0.1-seed-seed"));
}

TEST_F(DaemonTest, StartsWithoutItsSchedulerAndFindsItLater) {
  ScriptedScheduler scheduler;
  const int port = scheduler.port();
  scheduler.Stop();
  const auto daemon = Start(Config("peer", StrCat("127.0.0.1:", port)));
  ASSERT_NE(daemon, nullptr);
  EXPECT_EQ(daemon->scheduler_count(), 0u);
  scheduler.Start(port);
  EXPECT_TRUE(scheduler.WaitForAnnouncements(1));
}

TEST_F(DaemonTest, NamesThePortThatIsInUseAndLeavesNothingBehind) {
  const UniqueFd taken(::socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0));
  sockaddr_in address{};
  address.sin_family = AF_INET;
  address.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
  socklen_t length = sizeof(address);
  ASSERT_EQ(::bind(taken.get(), reinterpret_cast<sockaddr*>(&address), length), 0);
  ASSERT_EQ(::listen(taken.get(), 1), 0);
  ASSERT_EQ(::getsockname(taken.get(), reinterpret_cast<sockaddr*>(&address), &length), 0);
  const uint16_t port = ntohs(address.sin_port);

  const DaemonConfig good = Config("peer");
  DaemonConfig upload = good, pieces = good, health = good, metrics = good, proxy = good;
  proxy.proxy.server.port = port;
  upload.upload.port = pieces.storage.tcp_port = health.health.port = metrics.metrics.port = port;
  const std::pair<const DaemonConfig*, const char*> cases[] = {{&upload, "upload.server"},
                                                               {&pieces, "storage.server"},
                                                               {&health, "health.server"},
                                                               {&metrics, "metrics.server"},
                                                               {&proxy, "proxy.server"}};
  for (const auto& [config, key] : cases) {
    const auto started = TryStart(*config);
    ASSERT_FALSE(started.ok()) << key;
    EXPECT_THAT(MessageOf(started.status()), HasSubstr(key));
    EXPECT_THAT(MessageOf(started.status()), HasSubstr(std::to_string(port)));
  }
  EXPECT_NE(Start(good), nullptr);
}

TEST_F(DaemonTest, ReplacesASocketThatNobodyServes) {
  const DaemonConfig config = Config("peer");
  std::filesystem::create_directories(dir_.path() + "/peer");
  {
    const UniqueFd stale(::socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0));
    sockaddr_un address{};
    address.sun_family = AF_UNIX;
    config.download.socket_path.copy(address.sun_path, sizeof(address.sun_path) - 1);
    ASSERT_EQ(::bind(stale.get(), reinterpret_cast<sockaddr*>(&address), sizeof(address)), 0);
  }
  ASSERT_TRUE(std::filesystem::is_socket(config.download.socket_path));
  EXPECT_NE(Start(config), nullptr);
}

TEST_F(DaemonTest, RefusesTheSocketOfALivingDaemon) {
  const auto first = Start(Config("first"));
  ASSERT_NE(first, nullptr);
  DaemonConfig config = Config("second");
  config.download.socket_path = first->socket_path();
  const auto second = TryStart(config);
  ASSERT_FALSE(second.ok());
  EXPECT_THAT(MessageOf(second.status()), HasSubstr("download.server"));
  EXPECT_THAT(MessageOf(second.status()), HasSubstr(first->socket_path()));
  EXPECT_TRUE(std::filesystem::is_socket(first->socket_path()));
}

TEST_F(DaemonTest, RefusesTheDirectoryOfALivingDaemon) {
  const auto first = Start(Config("first"));
  ASSERT_NE(first, nullptr);
  DaemonConfig config = Config("second");
  config.storage.dir = Config("first").storage.dir;
  const auto second = TryStart(config);
  ASSERT_FALSE(second.ok());
  EXPECT_THAT(MessageOf(second.status()), HasSubstr(config.storage.dir));
}

TEST_F(DaemonTest, TheNextOneTakesOverWhatAStoppedOneLeft) {
  const ScriptedOrigin origin(RandomBytes(5 << 20));
  DaemonConfig config = Config("peer");
  config.storage.keep = true;
  {
    const auto daemon = Start(config);
    ASSERT_NE(daemon, nullptr);
    ASSERT_TRUE(Download(daemon->socket_path(), origin.Url(), dir_.path() + "/one").ok());
    ASSERT_TRUE(daemon->Stop(In(kSecond)).ok());
    ASSERT_TRUE(daemon->Stop(In(kSecond)).ok());
  }
  const auto daemon = Start(config);
  ASSERT_NE(daemon, nullptr);
  const uint64_t before = origin.bytes_read();
  ASSERT_TRUE(Download(daemon->socket_path(), origin.Url(), dir_.path() + "/two").ok());
  EXPECT_EQ(origin.bytes_read(), before);
  EXPECT_TRUE(ReadFile(dir_.path() + "/two") == origin.content());
}

TEST_F(DaemonTest, ADownloadThatRunsIsCutAtTheDeadlineOfTheStop) {
  ScriptedOrigin origin(RandomBytes(16 << 20));
  const auto daemon = Start(Config("peer"));
  ASSERT_NE(daemon, nullptr);
  origin.HoldFrom(1 << 20);
  absl::Status downloaded;
  std::thread caller([&] { downloaded = Download(daemon->socket_path(), origin.Url(), dir_.path() + "/out"); });
  ASSERT_TRUE(origin.AwaitHeld());
  const TimePoint begin = Clock::now();
  EXPECT_TRUE(absl::IsDeadlineExceeded(daemon->Stop(In(std::chrono::milliseconds(100)))));
  EXPECT_LT(Clock::now() - begin, 5 * kSecond);
  caller.join();
  EXPECT_FALSE(downloaded.ok());
  EXPECT_FALSE(std::filesystem::exists(dir_.path() + "/out"));
}

TEST_F(DaemonTest, ADownloadThatRunsMayEndBeforeTheStop) {
  ScriptedOrigin origin(RandomBytes(8 << 20));
  const auto daemon = Start(Config("peer"));
  ASSERT_NE(daemon, nullptr);
  origin.HoldFrom(1 << 20);
  absl::Status downloaded;
  std::thread caller([&] { downloaded = Download(daemon->socket_path(), origin.Url(), dir_.path() + "/out"); });
  ASSERT_TRUE(origin.AwaitHeld());
  std::thread stopper([&] { EXPECT_TRUE(daemon->Stop(In(10 * kSecond)).ok()); });
  origin.Release();
  caller.join();
  stopper.join();
  EXPECT_TRUE(downloaded.ok()) << downloaded;
  EXPECT_TRUE(ReadFile(dir_.path() + "/out") == origin.content());
}

}  // namespace
}  // namespace dragonfly::daemon
