// SPDX-License-Identifier: Apache-2.0
#include "rpc/connection_watch.h"

#include <gtest/gtest.h>

#include <memory>
#include <optional>
#include <string>

#include "base/text.h"
#include "rpc/health_check.h"
#include "tests/unit/rpc/rpc_fixture.h"

namespace dragonfly::rpc {
namespace {

class ConnectionWatchTest : public ::testing::Test {
 protected:
  ~ConnectionWatchTest() override { Stop(); }

  // On the port of before.
  void Start() {
    ServerOptions options;
    options.addresses = {StrCat("127.0.0.1:", port_)};
    absl::StatusOr<std::unique_ptr<Server>> server = Server::Start(options);
    ASSERT_TRUE(server.ok()) << server.status();
    server_ = *std::move(server);
    port_ = server_->port();
  }
  void Stop() {
    if (server_ != nullptr) server_->Shutdown(Clock::now());
    server_.reset();
  }
  std::shared_ptr<grpc::Channel> Channel() { return pool_.Get(HostPort("127.0.0.1", port_)); }
  // Connects, after a failed attempt, too.
  void Connect() {
    const TimePoint deadline = Soon();
    absl::Status status;
    do {
      status = runtime::RunOn(io_.At(0), CheckHealth(Channel(), kPatience));
    } while (!status.ok() && Clock::now() < deadline);
    ASSERT_TRUE(status.ok()) << status;
  }
  // Whether it has grown beyond `before`.
  bool WaitForLoss(const ConnectionLosses& losses, uint64_t before) {
    for (;;) {
      const uint64_t seen = lost_.version();
      if (*losses > before) return true;
      if (!runtime::RunOn(io_.At(0), lost_.Wait(seen, Soon()))) return false;
    }
  }

  runtime::IoThreads io_{1};
  runtime::Signal lost_;
  ChannelPool pool_{ChannelOptions()};
  std::unique_ptr<Server> server_;
  int port_ = 0;
};

TEST_F(ConnectionWatchTest, CountsEachRestartHoweverShort) {
  ConnectionWatch watch;
  Start();
  const ConnectionLosses losses = watch.Follow(Channel(), lost_);
  Connect();
  EXPECT_EQ(*losses, 0u);
  for (int i = 0; i < 5; ++i) {
    const uint64_t before = *losses;
    Stop();
    Start();
    // Somebody else's call may bring the connection back before anybody looks.
    Connect();
    EXPECT_TRUE(WaitForLoss(losses, before)) << i;
  }
}

TEST_F(ConnectionWatchTest, SaysNothingWhileAConnectionStandsOrNoneCanBeMade) {
  ConnectionWatch watch;
  Start();
  const ConnectionLosses losses = watch.Follow(Channel(), lost_);
  Connect();
  Connect();
  EXPECT_EQ(*losses, 0u);
  Stop();
  ASSERT_TRUE(WaitForLoss(losses, 0));
  const uint64_t after = *losses;
  for (int i = 0; i < 5; ++i) {
    EXPECT_FALSE(runtime::RunOn(io_.At(0), CheckHealth(Channel(), kPatience)).ok());
  }
  EXPECT_LE(*losses, after + 1);
}

TEST_F(ConnectionWatchTest, NeitherKeepsAChannelNorWaitsForOneThatIsGone) {
  auto watch = std::make_unique<ConnectionWatch>();
  Start();
  std::weak_ptr<grpc::Channel> channel = Channel();
  const ConnectionLosses losses = watch->Follow(channel.lock(), lost_);
  Connect();
  pool_.Drop(HostPort("127.0.0.1", port_));
  const TimePoint deadline = Soon();
  while (!channel.expired() && Clock::now() < deadline) std::this_thread::yield();
  EXPECT_TRUE(channel.expired());
  const TimePoint begin = Clock::now();
  watch.reset();
  EXPECT_LT(Clock::now() - begin, std::chrono::seconds(1));
}

TEST_F(ConnectionWatchTest, EndsWhileChannelsLiveOn) {
  Start();
  const std::shared_ptr<grpc::Channel> channel = Channel();
  {
    ConnectionWatch watch;
    const ConnectionLosses losses = watch.Follow(channel, lost_);
    Connect();
  }
  EXPECT_EQ(channel->GetState(/*try_to_connect=*/false), GRPC_CHANNEL_READY);
}

}  // namespace
}  // namespace dragonfly::rpc
