// SPDX-License-Identifier: Apache-2.0
#include "daemon/manager_announcer.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "runtime/io_threads.h"
#include "tests/unit/daemon/scripted_manager.h"
#include "tests/unit/daemon/scripted_scheduler.h"

namespace dragonfly::daemon {
namespace {

using test::Await;
using test::In;
using test::kPatience;
using test::ScriptedManager;
using ::testing::Contains;
using ::testing::Not;

constexpr auto kShort = std::chrono::milliseconds(20);
constexpr char kActive[] = "active seed-1 10.0.0.9 3";
constexpr char kDelete[] = "delete seed-1 10.0.0.9 3";

class ManagerAnnouncerTest : public ::testing::Test {
 protected:
  ~ManagerAnnouncerTest() override { Leave(Clock::now()); }

  void Announce(const std::string& addr, const std::string& type = "super") {
    auto link = ManagerLink::Make(addr, rpc::TlsFiles());
    ASSERT_TRUE(link.ok()) << link.status();
    link_ = *std::move(link);
    ManagerAnnouncerOptions options;
    options.identity.hostname = "seed-1";
    options.identity.ip = "10.0.0.9";
    options.identity.upload_port = 4321;
    options.idc = "dc1";
    options.type = type;
    options.cluster_id = 3;
    options.keepalive_interval = options.retry_min = kShort;
    announcer_ = std::make_unique<ManagerAnnouncer>(options, io_.At(0), *link_);
    announcer_->Start();
  }
  void Leave(TimePoint deadline) {
    if (announcer_ != nullptr) Await(io_.At(0), announcer_->Leave(deadline));
    announcer_.reset();
  }

  runtime::IoThreads io_{2};
  std::unique_ptr<ManagerLink> link_;
  std::unique_ptr<ManagerAnnouncer> announcer_;
};

TEST_F(ManagerAnnouncerTest, RegistersAndStaysActive) {
  ScriptedManager manager;
  Announce(manager.addr());
  ASSERT_TRUE(manager.WaitForEvent("beat", 3));
  const auto events = manager.events();
  EXPECT_EQ(events[0], "update super");
  EXPECT_EQ(events[1], kActive);
  const auto update = manager.updates()[0];
  EXPECT_EQ(update.source_type(), manager::v2::SEED_PEER_SOURCE);
  EXPECT_EQ(update.hostname(), "seed-1");
  EXPECT_EQ(update.ip(), "10.0.0.9");
  EXPECT_EQ(update.port(), 4321);
  EXPECT_EQ(update.download_port(), 4321);
  EXPECT_EQ(update.idc(), "dc1");
  EXPECT_FALSE(update.has_location());
  EXPECT_EQ(update.seed_peer_cluster_id(), 3u);
}

TEST_F(ManagerAnnouncerTest, LeavesTheBooks) {
  ScriptedManager manager;
  Announce(manager.addr());
  ASSERT_TRUE(manager.WaitForEvent(kActive));
  Leave(In(kPatience));
  EXPECT_THAT(manager.events(), Contains(kDelete));
  EXPECT_TRUE(manager.WaitForEvent("inactive"));
}

// As a crash: what is left of the connection ends the stream, and the manager makes the record inactive.
TEST_F(ManagerAnnouncerTest, IsInactiveWhenItGoesWithoutAWord) {
  ScriptedManager manager;
  Announce(manager.addr());
  ASSERT_TRUE(manager.WaitForEvent(kActive));
  Leave(Clock::now());
  EXPECT_TRUE(manager.WaitForEvent("inactive"));
  EXPECT_THAT(manager.events(), Not(Contains(kDelete)));
}

TEST_F(ManagerAnnouncerTest, RegistersAgainWithAManagerThatWasRestarted) {
  ScriptedManager manager;
  Announce(manager.addr());
  ASSERT_TRUE(manager.WaitForEvent(kActive));
  const int port = manager.port();
  manager.Stop();
  manager.Start(port);
  EXPECT_TRUE(manager.WaitForEvent(kActive, 2));
  EXPECT_TRUE(manager.WaitForEvent("update super", 2));
}

TEST_F(ManagerAnnouncerTest, TakesTheTypeThatEveryManagerKnows) {
  ScriptedManager manager;
  manager.RefuseType("weak");
  Announce(manager.addr(), "weak");
  EXPECT_TRUE(manager.WaitForEvent(kActive));
  EXPECT_EQ(manager.events()[0], "update super");
}

TEST_F(ManagerAnnouncerTest, LeavesInTimeWithoutAManager) {
  ScriptedManager manager;
  const std::string addr = manager.addr();
  manager.Stop();
  Announce(addr);
  const TimePoint begin = Clock::now();
  Leave(In(std::chrono::seconds(2)));
  EXPECT_LT(Clock::now() - begin, kPatience / 2);
}

}  // namespace
}  // namespace dragonfly::daemon
