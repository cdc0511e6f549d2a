// SPDX-License-Identifier: Apache-2.0
#include "rpc/channel.h"

#include <grpcpp/grpcpp.h>
#include <gtest/gtest.h>

#include <thread>

namespace dragonfly::rpc {
namespace {

TEST(ChannelPool, KeepsOneChannelForAnAddress) {
  ChannelPool pool{ChannelOptions()};
  const auto first = pool.Get("127.0.0.1:1");
  EXPECT_EQ(pool.Get("127.0.0.1:1"), first);
  EXPECT_NE(pool.Get("127.0.0.1:2"), first);
  EXPECT_EQ(pool.size(), 2u);
}

TEST(ChannelPool, DropMakesTheNextGetNew) {
  ChannelPool pool{ChannelOptions()};
  const auto first = pool.Get("127.0.0.1:1");
  pool.Drop("127.0.0.1:1");
  EXPECT_EQ(pool.size(), 0u);
  EXPECT_NE(pool.Get("127.0.0.1:1"), first);
  pool.Drop("never seen");
}

TEST(ChannelPool, ForgetsOnlyChannelsThatNobodyUses) {
  ChannelOptions options;
  options.idle_timeout = std::chrono::milliseconds(1);
  ChannelPool pool(options);
  const auto used = pool.Get("127.0.0.1:1");
  pool.Get("127.0.0.1:2");
  const TimePoint end = Clock::now() + std::chrono::seconds(30);
  // Each Get() looks after the others.
  do {
    ASSERT_LT(Clock::now(), end);
    std::this_thread::yield();
    pool.Get("127.0.0.1:3");
  } while (pool.size() > 2);
  EXPECT_EQ(pool.Get("127.0.0.1:1"), used);
}

TEST(ChannelPool, HostPortBracketsIpv6) {
  EXPECT_EQ(HostPort("10.0.0.1", 8002), "10.0.0.1:8002");
  EXPECT_EQ(HostPort("::1", 8002), "[::1]:8002");
  EXPECT_EQ(HostPort("[::1]", 8002), "[::1]:8002");
}

}  // namespace
}  // namespace dragonfly::rpc
