// SPDX-License-Identifier: Apache-2.0
#include "runtime/signal.h"

#include <gtest/gtest.h>

#include <atomic>
#include <boost/asio/bind_cancellation_slot.hpp>
#include <boost/asio/cancellation_signal.hpp>
#include <boost/asio/error.hpp>
#include <boost/system/system_error.hpp>
#include <thread>
#include <vector>

#include "runtime/io_threads.h"
#include "tests/unit/runtime/run_coroutine.h"

namespace dragonfly::runtime {
namespace {

namespace asio = boost::asio;

asio::awaitable<void> Nothing() { co_return; }

TEST(Signal, ReturnsAtOnceWhenTheVersionHasMoved) {
  asio::io_context io;
  Signal signal;
  const uint64_t seen = signal.version();
  signal.Notify();
  std::future<bool> result = asio::co_spawn(io, signal.Wait(seen), asio::use_future);
  io.run();
  EXPECT_TRUE(result.get());
  EXPECT_EQ(signal.version(), seen + 1);
}

TEST(Signal, WakesEveryWaiterOnItsOwnThread) {
  IoThreads io(2);
  Signal signal;
  struct Waiting {
    static asio::awaitable<bool> Run(Signal s, std::atomic<int>& waiting) {
      const std::thread::id home = std::this_thread::get_id();
      ++waiting;
      const bool changed = co_await s.Wait(0);
      co_return changed&& std::this_thread::get_id() == home;
    }
  };
  std::atomic<int> waiting = 0;
  std::vector<std::future<bool>> results;
  for (size_t i = 0; i < 20; ++i) {
    results.push_back(asio::co_spawn(io.At(i % 2), Waiting::Run(signal, waiting), asio::use_future));
  }
  while (waiting != 20) std::this_thread::yield();
  signal.Notify();
  for (std::future<bool>& result : results) {
    ASSERT_EQ(result.wait_for(kPatience), std::future_status::ready);
    EXPECT_TRUE(result.get());
  }
}

TEST(Signal, EndsAtTheDeadline) {
  IoThreads io(1);
  const Signal signal;
  EXPECT_FALSE(RunOn(io.At(0), signal.Wait(0, Clock::now() + std::chrono::milliseconds(5))));
  EXPECT_FALSE(RunOn(io.At(0), signal.Wait(0, Clock::now())));
}

TEST(Signal, CancellationThrows) {
  asio::io_context io;
  Signal signal;
  asio::cancellation_signal cancel;
  std::exception_ptr failure;
  asio::co_spawn(io, signal.Wait(0),
                 asio::bind_cancellation_slot(cancel.slot(), [&](std::exception_ptr e, bool) { failure = e; }));
  io.poll();
  ASSERT_FALSE(failure);
  cancel.emit(asio::cancellation_type::terminal);
  io.run();
  ASSERT_TRUE(failure);
  try {
    std::rethrow_exception(failure);
  } catch (const boost::system::system_error& error) {
    EXPECT_EQ(error.code(), asio::error::operation_aborted);
  }
  signal.Notify();  // Nobody is left in the list.
}

TEST(Signal, AWaiterMayOutliveTheNotifier) {
  IoThreads io(1);
  auto signal = std::make_unique<Signal>();
  std::future<bool> result =
      asio::co_spawn(io.At(0), signal->Wait(0, Clock::now() + std::chrono::milliseconds(20)), asio::use_future);
  RunOn(io.At(0), Nothing());  // the waiter has begun
  signal.reset();
  ASSERT_EQ(result.wait_for(kPatience), std::future_status::ready);
  EXPECT_FALSE(result.get());
}

TEST(Signal, AbandonedWaitersLeaveNoTrace) {
  Signal signal;
  {
    asio::io_context io;
    asio::co_spawn(io, signal.Wait(0), [](std::exception_ptr, bool) {});
    io.poll();
  }
  signal.Notify();
}

// Consumers count up to what producers have published, from several threads, without losing a wake-up.
TEST(Signal, LosesNoChange) {
  IoThreads io(2);
  Signal signal;
  std::atomic<int> published = 0;
  constexpr int kTotal = 4000;
  struct Consumer {
    static asio::awaitable<int> Run(Signal s, std::atomic<int>& value) {
      int wakes = 0;
      for (;;) {
        const uint64_t seen = s.version();
        if (value == kTotal) co_return wakes;
        ++wakes;
        if (!co_await s.Wait(seen, Clock::now() + kPatience)) co_return -1;
      }
    }
  };
  std::vector<std::future<int>> results;
  for (size_t i = 0; i < 4; ++i) {
    results.push_back(asio::co_spawn(io.At(i % 2), Consumer::Run(signal, published), asio::use_future));
  }
  std::vector<std::thread> producers;
  for (int t = 0; t < 2; ++t) {
    producers.emplace_back([&] {
      for (int i = 0; i < kTotal / 2; ++i) {
        ++published;
        signal.Notify();
      }
    });
  }
  for (std::thread& producer : producers) producer.join();
  for (std::future<int>& result : results) {
    ASSERT_EQ(result.wait_for(kPatience), std::future_status::ready);
    EXPECT_GE(result.get(), 0);
  }
}

}  // namespace
}  // namespace dragonfly::runtime
