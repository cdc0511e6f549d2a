// SPDX-License-Identifier: Apache-2.0
#include "daemon/parent_loads.h"

#include <gtest/gtest.h>

#include <atomic>

#include "runtime/timeout.h"
#include "tests/unit/daemon/test_peer.h"

namespace dragonfly::daemon {
namespace {

TEST(FreeRate, IsWhatIsLeftAndAtLeastATenth) {
  EXPECT_DOUBLE_EQ(FreeRate(8e9, 0), 1e9);
  EXPECT_DOUBLE_EQ(FreeRate(8e9, 4e9), 5e8);
  EXPECT_DOUBLE_EQ(FreeRate(8e9, 7.9e9), 1e8);
  EXPECT_DOUBLE_EQ(FreeRate(8e9, 9e9), 1e8) << "an interface that is said to do more than it can";
}

class Loads : public ::testing::Test {
 protected:
  ~Loads() override {
    if (loads_) RunOn(io_, loads_->Stop());
  }
  void Make(Clock::duration linger) {
    loads_ = std::make_unique<ParentLoads>(io_.At(0).get_executor(), channels_, "127.0.0.1-child", linger);
  }
  TestPeer::Options Telling(uint64_t max_tx, uint64_t tx) {
    TestPeer::Options options;
    options.fill_host = [this, max_tx, tx](common::v2::Host& host) {
      ++asked_;
      host.mutable_network()->set_max_tx_bandwidth(max_tx);
      host.mutable_network()->set_tx_bandwidth(tx);
    };
    return options;
  }
  // Looks until `done` or for a minute.
  void Await(const std::function<bool()>& done) {
    const TimePoint deadline = Clock::now() + kTestPatience;
    while (!done()) {
      ASSERT_LT(Clock::now(), deadline);
      RunOn(io_, runtime::SleepUntil(Clock::now() + std::chrono::milliseconds(2)));
    }
  }

  runtime::IoThreads io_{2};
  rpc::ChannelPool channels_{rpc::ChannelOptions()};
  std::atomic<int> asked_ = 0;
  std::unique_ptr<ParentLoads> loads_;
};

TEST_F(Loads, OneStreamServesAllWhoWatchAHost) {
  Make(std::chrono::hours(1));
  TestPeer parent(io_, "parent", Telling(8'000'000'000, 2'000'000'000));
  const auto first = loads_->Begin(parent.upload_address(), "a");
  const auto second = loads_->Begin(parent.upload_address(), "b");
  ASSERT_TRUE(first && second);
  EXPECT_EQ(loads_->size(), 1u);
  Await([&] { return first->free_rate().has_value(); });
  EXPECT_DOUBLE_EQ(*first->free_rate(), 7.5e8);
  EXPECT_EQ(first->free_rate(), second->free_rate());
  EXPECT_EQ(asked_, 1) << "a message a second and stream";
}

TEST_F(Loads, AHostThatNobodyWatchesIsLeft) {
  Make(Clock::duration::zero());
  TestPeer parent(io_, "parent", Telling(8'000'000'000, 0));
  auto watch = loads_->Begin(parent.upload_address(), "a");
  Await([&] { return watch->free_rate().has_value(); });
  EXPECT_EQ(loads_->size(), 1u);
  watch.reset();
  Await([&] { return loads_->size() == 0; });
}

TEST_F(Loads, AHostThatIsNotThereTellsNothing) {
  Make(std::chrono::hours(1));
  const auto watch = loads_->Begin("127.0.0.1:1", "a");
  Await([&] { return loads_->size() == 0; });
  EXPECT_EQ(watch->free_rate(), std::nullopt);
}

TEST_F(Loads, AHostThatDoesNotKnowItsSpeedTellsNothing) {
  Make(std::chrono::hours(1));
  TestPeer parent(io_, "parent", Telling(0, 0));
  const auto watch = loads_->Begin(parent.upload_address(), "a");
  Await([&] { return asked_ >= 2; });
  EXPECT_EQ(watch->free_rate(), std::nullopt);
}

}  // namespace
}  // namespace dragonfly::daemon
