// SPDX-License-Identifier: Apache-2.0
#include "daemon/proxy/pump.h"

#include <gtest/gtest.h>
#include <sys/socket.h>
#include <unistd.h>

#include <boost/asio/co_spawn.hpp>
#include <boost/asio/use_future.hpp>
#include <future>
#include <stdexcept>
#include <string>

#include "runtime/io_threads.h"
#include "runtime/timeout.h"

namespace dragonfly::daemon::proxy {
namespace {

namespace asio = boost::asio;

constexpr std::chrono::seconds kWait{30};
constexpr std::chrono::milliseconds kTunnelPatience{400};

struct Pair {
  Pair() {
    int fds[2];
    if (::socketpair(AF_UNIX, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0, fds) != 0)
      throw std::runtime_error("pair");
    inner = UniqueFd(fds[0]);
    outer = UniqueFd(fds[1]);
  }
  UniqueFd inner, outer;
};

asio::awaitable<absl::Status> Tunnel(asio::io_context& io, UniqueFd client, UniqueFd origin) {
  Stream a(io, std::move(client));
  Stream b(io, std::move(origin));
  a.SetPatience(kTunnelPatience);
  b.SetPatience(kTunnelPatience);
  co_return co_await PumpBothWays(a, b);
}

// Says one byte more than four times in each patience, for three of them, and hangs up.
asio::awaitable<int> Talk(UniqueFd fd) {
  int said = 0;
  for (const TimePoint end = Clock::now() + 3 * kTunnelPatience; Clock::now() < end; ++said) {
    if (::send(fd.get(), "x", 1, MSG_NOSIGNAL) != 1) break;
    co_await runtime::SleepUntil(Clock::now() + kTunnelPatience / 5);
  }
  co_return said;
}

TEST(Pump, ASideMayBeSilentWhileTheOtherTalks) {
  runtime::IoThreads io(1);
  Pair client, origin;
  auto ended =
      asio::co_spawn(io.At(0), Tunnel(io.At(0), std::move(client.inner), std::move(origin.inner)), asio::use_future);
  auto said = asio::co_spawn(io.At(0), Talk(std::move(origin.outer)), asio::use_future);
  ASSERT_EQ(said.wait_for(kWait), std::future_status::ready);
  const int bytes = said.get();
  EXPECT_GE(bytes, 10) << "the tunnel was cut while its origin talked";
  // The client's silence has been long, and the tunnel is still there for its last word.
  ::shutdown(client.outer.get(), SHUT_WR);
  ASSERT_EQ(ended.wait_for(kWait), std::future_status::ready);
  EXPECT_TRUE(ended.get().ok());
  std::string heard(4096, '\0');
  const ssize_t got = ::recv(client.outer.get(), heard.data(), heard.size(), 0);
  EXPECT_EQ(got, bytes);
}

TEST(Pump, WhatMovesNotAtAllIsCut) {
  runtime::IoThreads io(1);
  Pair client, origin;
  auto ended =
      asio::co_spawn(io.At(0), Tunnel(io.At(0), std::move(client.inner), std::move(origin.inner)), asio::use_future);
  ASSERT_EQ(ended.wait_for(kWait), std::future_status::ready);
  EXPECT_TRUE(absl::IsDeadlineExceeded(ended.get()));
  char byte = 0;
  EXPECT_EQ(::recv(client.outer.get(), &byte, 1, 0), 0);
  EXPECT_EQ(::recv(origin.outer.get(), &byte, 1, 0), 0);
}

// As when descriptors have run out.
TEST(Pump, AStreamWithoutASocketFailsItsUserOnly) {
  runtime::IoThreads io(1);
  Pair client;
  auto ended = asio::co_spawn(io.At(0), Tunnel(io.At(0), std::move(client.inner), UniqueFd()), asio::use_future);
  ASSERT_EQ(ended.wait_for(kWait), std::future_status::ready);
  EXPECT_TRUE(absl::IsUnavailable(ended.get()));
}

}  // namespace
}  // namespace dragonfly::daemon::proxy
