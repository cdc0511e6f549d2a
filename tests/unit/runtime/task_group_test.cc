// SPDX-License-Identifier: Apache-2.0
#include "runtime/task_group.h"

#include <gtest/gtest.h>

#include <atomic>
#include <boost/asio/post.hpp>
#include <boost/asio/redirect_error.hpp>
#include <boost/asio/steady_timer.hpp>
#include <boost/asio/this_coro.hpp>
#include <boost/asio/use_awaitable.hpp>
#include <future>
#include <thread>
#include <vector>

#include "runtime/io_threads.h"
#include "runtime/signal.h"
#include "runtime/timeout.h"
#include "tests/unit/runtime/run_coroutine.h"

namespace dragonfly::runtime {
namespace {

namespace asio = boost::asio;

asio::awaitable<void> WaitForever(std::atomic<int>& started, std::atomic<int>& ended) {
  struct Count {
    std::atomic<int>& n;
    ~Count() { ++n; }
  };
  const Count count{ended};
  ++started;
  co_await SleepUntil(kNoDeadline);
}

asio::awaitable<void> Add(std::atomic<int>& sum, int n) {
  sum += n;
  co_return;
}

TEST(TaskGroup, StopCancelsAndJoinsWhatRuns) {
  IoThreads io(2);
  std::atomic<int> started = 0;
  std::atomic<int> ended = 0;
  TaskGroup group(io.At(0).get_executor());
  for (int i = 0; i < 100; ++i) group.Spawn(WaitForever(started, ended));
  EXPECT_EQ(group.size(), 100u);
  std::atomic<int> marker = 0;
  RunOn(io.At(0), Add(marker, 1));  // runs behind the hundred starts
  EXPECT_EQ(started, 100);
  RunOn(io.At(1), group.Stop());
  EXPECT_EQ(ended, 100);
  EXPECT_EQ(group.size(), 0u);
}

TEST(TaskGroup, DropsWorkAfterStop) {
  IoThreads io(1);
  std::atomic<int> sum = 0;
  TaskGroup group(io.At(0).get_executor());
  RunOn(io.At(0), group.Stop());
  group.Spawn(Add(sum, 1));
  EXPECT_EQ(group.size(), 0u);
  RunOn(io.At(0), group.Stop());
  EXPECT_EQ(sum, 0);
}

TEST(TaskGroup, DropsWorkThatHasNotBegunWhenStopped) {
  asio::io_context io;
  std::atomic<int> sum = 0;
  TaskGroup group(io.get_executor());
  group.Spawn(Add(sum, 1));
  std::future<void> stopped = asio::co_spawn(io, group.Stop(), asio::use_future);
  io.run();
  stopped.get();
  EXPECT_EQ(sum, 0);
}

TEST(TaskGroup, DrainLetsWorkEnd) {
  IoThreads io(1);
  Signal go;
  std::atomic<int> sum = 0;
  TaskGroup group(io.At(0).get_executor());
  struct Work {
    static asio::awaitable<void> Run(Signal signal, std::atomic<int>& n) {
      co_await signal.Wait(0);
      ++n;
    }
  };
  for (int i = 0; i < 10; ++i) group.Spawn(Work::Run(go, sum));
  std::future<void> drained = asio::co_spawn(io.At(0), group.Drain(), asio::use_future);
  group.Spawn(Add(sum, 1000));
  go.Notify();
  ASSERT_EQ(drained.wait_for(kPatience), std::future_status::ready);
  EXPECT_EQ(sum, 10);
}

TEST(TaskGroup, CancelKeepsTheGateOpen) {
  IoThreads io(1);
  std::atomic<int> started = 0;
  std::atomic<int> ended = 0;
  std::atomic<int> sum = 0;
  TaskGroup group(io.At(0).get_executor());
  group.Spawn(WaitForever(started, ended));
  RunOn(io.At(0), Add(sum, 1));
  group.Cancel();
  group.Spawn(Add(sum, 1));
  RunOn(io.At(0), group.Drain());
  EXPECT_EQ(sum, 2);
  EXPECT_EQ(ended, 1);
}

TEST(TaskGroup, MayBeJoinedFromSeveralPlaces) {
  IoThreads io(3);
  std::atomic<int> started = 0;
  std::atomic<int> ended = 0;
  TaskGroup group(io.At(0).get_executor());
  for (int i = 0; i < 10; ++i) group.Spawn(WaitForever(started, ended));
  std::vector<std::future<void>> joins;
  for (size_t i = 0; i < 9; ++i) joins.push_back(asio::co_spawn(io.At(i % 3), group.Stop(), asio::use_future));
  for (std::future<void>& join : joins) ASSERT_EQ(join.wait_for(kPatience), std::future_status::ready);
  EXPECT_EQ(ended, started);
}

// A cancelled coroutine that owns a group must be able to join it before it goes.
TEST(TaskGroup, JoiningIsNotCancellable) {
  IoThreads io(1);
  TaskGroup outer(io.At(0).get_executor());
  std::atomic<int> started = 0;
  std::atomic<int> ended = 0;
  struct Owner {
    static asio::awaitable<void> Run(std::atomic<int>& begun, std::atomic<int>& done) {
      TaskGroup inner(co_await asio::this_coro::executor);
      inner.Spawn(WaitForever(begun, done));
      asio::steady_timer forever(co_await asio::this_coro::executor, kNoDeadline);
      boost::system::error_code ignored;
      co_await forever.async_wait(asio::redirect_error(asio::use_awaitable, ignored));
      co_await asio::this_coro::throw_if_cancelled(false);
      co_await inner.Stop();
    }
  };
  outer.Spawn(Owner::Run(started, ended));
  while (started == 0) std::this_thread::yield();
  outer.Cancel();
  RunOn(io.At(0), outer.Stop());
  EXPECT_EQ(ended, 1);
}

TEST(TaskGroup, TakesWorkFromManyThreads) {
  IoThreads io(1);
  std::atomic<int> sum = 0;
  TaskGroup group(io.At(0).get_executor());
  std::vector<std::thread> threads;
  for (int t = 0; t < 4; ++t) {
    threads.emplace_back([&] {
      for (int i = 0; i < 500; ++i) group.Spawn(Add(sum, 1));
    });
  }
  for (std::thread& thread : threads) thread.join();
  RunOn(io.At(0), group.Drain());
  EXPECT_EQ(sum, 2000);
  EXPECT_EQ(group.size(), 0u);
}

TEST(TaskGroupDeathTest, DyingBeforeItsCoroutinesIsADefect) {
  GTEST_FLAG_SET(death_test_style, "threadsafe");
  EXPECT_DEATH(
      {
        asio::io_context io;
        std::atomic<int> n = 0;
        TaskGroup group(io.get_executor());
        group.Spawn(WaitForever(n, n));
      },
      "Stop\\(\\) was not awaited");
}

}  // namespace
}  // namespace dragonfly::runtime
