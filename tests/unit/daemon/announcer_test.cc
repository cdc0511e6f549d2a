// SPDX-License-Identifier: Apache-2.0
#include "daemon/announcer.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "runtime/io_threads.h"
#include "tests/unit/daemon/scripted_scheduler.h"

namespace dragonfly::daemon {
namespace {

using test::Await;
using test::In;
using test::kPatience;
using test::ScriptedScheduler;

HostInfoOptions SeedInfo() {
  HostInfoOptions info;
  info.identity.host_id = "127.0.0.1-seed-host-seed";
  info.identity.hostname = "seed-host";
  info.identity.ip = "127.0.0.1";
  info.identity.seed = true;
  info.identity.upload_port = 4321;
  info.idc = "dc1";
  info.location = "eu|de";
  info.storage_dir = "/";
  return info;
}

class AnnouncerTest : public ::testing::Test {
 protected:
  ~AnnouncerTest() override {
    if (announcer_ != nullptr) Await(io_.At(0), announcer_->Stop());
    announcer_.reset();
    if (set_ != nullptr) Await(io_.At(0), set_->Stop());
  }

  void Announce(std::vector<std::string> addrs, AnnouncerOptions options = AnnouncerOptions()) {
    SchedulerSetOptions set;
    dynconfig_ = std::make_unique<StaticDynconfig>(std::move(addrs));
    set.retry_interval = std::chrono::milliseconds(20);
    set_ = std::make_unique<SchedulerSet>(set, io_.At(0), *dynconfig_, channels_, blocking_);
    set_->Start();
    options.retry_interval = std::chrono::milliseconds(20);
    announcer_ = std::make_unique<Announcer>(options, io_.At(0), *set_, host_);
    announcer_->Start();
  }

  runtime::IoThreads io_{2};
  runtime::BlockingPool blocking_{2, 64};
  rpc::ChannelPool channels_{rpc::ChannelOptions()};
  HostInfo host_{SeedInfo()};
  std::unique_ptr<StaticDynconfig> dynconfig_;
  std::unique_ptr<SchedulerSet> set_;
  std::unique_ptr<Announcer> announcer_;
};

TEST_F(AnnouncerTest, TellsEverySchedulerWhoThisHostIs) {
  ScriptedScheduler a, b;
  AnnouncerOptions options;
  options.interval = absl::Seconds(300);
  Announce({a.address(), b.address()}, options);
  EXPECT_TRUE(Await(io_.At(0), announcer_->WaitUntilKnown(In(kPatience))));
  for (const ScriptedScheduler* scheduler : {&a, &b}) {
    ASSERT_TRUE(scheduler->WaitForAnnouncements(1));
    const auto request = scheduler->announcements()[0];
    EXPECT_EQ(request.interval().seconds(), 300);
    const common::v2::Host& host = request.host();
    EXPECT_EQ(host.id(), "127.0.0.1-seed-host-seed");
    EXPECT_EQ(host.type(), 1u);
    EXPECT_EQ(host.hostname(), "seed-host");
    EXPECT_EQ(host.ip(), "127.0.0.1");
    EXPECT_EQ(host.port(), 4321);
    EXPECT_EQ(host.download_port(), 4321);
    EXPECT_EQ(host.network().idc(), "dc1");
    EXPECT_EQ(host.network().location(), "eu|de");
  }
}

TEST_F(AnnouncerTest, RepeatsItEveryInterval) {
  ScriptedScheduler scheduler;
  AnnouncerOptions options;
  options.interval = absl::Milliseconds(10);
  Announce({scheduler.address()}, options);
  EXPECT_TRUE(scheduler.WaitForAnnouncements(4));
}

TEST_F(AnnouncerTest, TellsASchedulerThatWasRestartedAtOnce) {
  ScriptedScheduler scheduler;
  Announce({scheduler.address()});
  ASSERT_TRUE(scheduler.WaitForAnnouncements(1));
  const int port = scheduler.port();
  scheduler.Stop();
  scheduler.Start(port);
  EXPECT_TRUE(scheduler.WaitForAnnouncements(2));
}

TEST_F(AnnouncerTest, TellsASchedulerThatComesLater) {
  ScriptedScheduler scheduler;
  const int port = scheduler.port();
  scheduler.Stop();
  Announce({"127.0.0.1:" + std::to_string(port)});
  EXPECT_FALSE(Await(io_.At(0), announcer_->WaitUntilKnown(In(std::chrono::milliseconds(50)))));
  scheduler.Start(port);
  EXPECT_TRUE(Await(io_.At(0), announcer_->WaitUntilKnown(In(kPatience))));
  EXPECT_TRUE(scheduler.WaitForAnnouncements(1));
}

TEST_F(AnnouncerTest, TriesAgainSoonWhenTheAnnouncementIsRefused) {
  ScriptedScheduler scheduler;
  scheduler.FailAnnouncements(grpc::Status(grpc::RESOURCE_EXHAUSTED, "rate limit"));
  Announce({scheduler.address()});
  ASSERT_TRUE(scheduler.WaitForAnnouncements(2));
  scheduler.FailAnnouncements(grpc::Status::OK);
  EXPECT_TRUE(Await(io_.At(0), announcer_->WaitUntilKnown(In(kPatience))));
}

}  // namespace
}  // namespace dragonfly::daemon
