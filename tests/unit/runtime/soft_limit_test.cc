// SPDX-License-Identifier: Apache-2.0
#include "runtime/soft_limit.h"

#include <gtest/gtest.h>

#include <boost/asio/bind_cancellation_slot.hpp>
#include <boost/asio/cancellation_signal.hpp>
#include <boost/asio/co_spawn.hpp>
#include <boost/asio/detached.hpp>
#include <boost/asio/io_context.hpp>
#include <map>
#include <optional>
#include <vector>

namespace dragonfly::runtime {
namespace {

namespace asio = boost::asio;

constexpr std::chrono::hours kNever{1};

class SoftLimitTest : public ::testing::Test {
 protected:
  void Spawn(SoftLimit& limit, int name) {
    if (slots_.size() <= static_cast<size_t>(name)) slots_.resize(static_cast<size_t>(name) + 1);
    asio::co_spawn(io_, Use(limit, name),
                   asio::bind_cancellation_slot(cancel_[name].slot(), [](std::exception_ptr) {}));
  }
  asio::awaitable<void> Use(SoftLimit& limit, int name) {
    SoftLimit::Slot slot = co_await limit.Enter();
    order_.push_back(name);
    slots_[static_cast<size_t>(name)].emplace(std::move(slot));
  }
  void Leave(int name) { slots_[static_cast<size_t>(name)].reset(); }
  // Everything that is ready.
  void Poll() {
    io_.restart();
    io_.poll();
  }

  asio::io_context io_;
  std::map<int, asio::cancellation_signal> cancel_;  // one slot serves one coroutine
  std::vector<std::optional<SoftLimit::Slot>> slots_;
  std::vector<int> order_;
};

TEST_F(SoftLimitTest, LetsInAsManyAsItHasSlotsAndTheNextWhenOneLeaves) {
  SoftLimit limit(2, kNever);
  for (int i = 0; i < 5; ++i) Spawn(limit, i);
  Poll();
  EXPECT_EQ(order_, (std::vector{0, 1}));
  EXPECT_EQ(limit.held(), 2u);
  EXPECT_EQ(limit.waiting(), 3u);
  Leave(1);
  Poll();
  EXPECT_EQ(order_, (std::vector{0, 1, 2}));
  Leave(0);
  Leave(2);
  Poll();
  EXPECT_EQ(order_, (std::vector{0, 1, 2, 3, 4}));
  Leave(3);
  Leave(4);
  EXPECT_EQ(limit.held(), 0u);
}

TEST_F(SoftLimitTest, LetsOneMoreInEachPaceThoughNobodyLeaves) {
  constexpr std::chrono::milliseconds kPace{20};
  SoftLimit limit(1, kPace);
  const TimePoint begin = Clock::now();
  for (int i = 0; i < 4; ++i) Spawn(limit, i);
  io_.run();
  EXPECT_EQ(order_, (std::vector{0, 1, 2, 3}));
  EXPECT_GE(Clock::now() - begin, 3 * kPace);
  EXPECT_EQ(limit.held(), 4u);
  // The bound holds again when they have gone.
  Spawn(limit, 4);
  for (int i = 0; i < 3; ++i) Leave(i);
  Poll();
  EXPECT_EQ(order_.size(), 4u);
  Leave(3);
  Poll();
  EXPECT_EQ(order_.back(), 4);
}

TEST_F(SoftLimitTest, WhoIsCancelledWaitsNoLonger) {
  SoftLimit limit(1, kNever);
  Spawn(limit, 0);
  Poll();
  Spawn(limit, 1);
  Poll();
  ASSERT_EQ(limit.waiting(), 1u);
  cancel_[1].emit(asio::cancellation_type::terminal);
  Poll();
  EXPECT_EQ(limit.waiting(), 0u);
  Spawn(limit, 2);
  Leave(0);
  Poll();
  EXPECT_EQ(order_, (std::vector{0, 2}));
}

TEST_F(SoftLimitTest, ASlotMayOutliveTheLimit) {
  {
    SoftLimit limit(1, kNever);
    Spawn(limit, 0);
    Poll();
  }
  Leave(0);
}

}  // namespace
}  // namespace dragonfly::runtime
