// SPDX-License-Identifier: Apache-2.0
#include "runtime/run_on.h"

#include <gtest/gtest.h>

#include <boost/asio/bind_cancellation_slot.hpp>
#include <boost/asio/co_spawn.hpp>
#include <boost/asio/post.hpp>
#include <boost/asio/steady_timer.hpp>
#include <boost/asio/this_coro.hpp>
#include <boost/asio/use_future.hpp>
#include <boost/system/system_error.hpp>
#include <future>
#include <stdexcept>
#include <thread>

#include "runtime/clock.h"
#include "runtime/io_threads.h"
#include "tests/unit/runtime/run_coroutine.h"

namespace dragonfly::runtime {
namespace {

namespace asio = boost::asio;

asio::awaitable<std::thread::id> ThreadId() { co_return std::this_thread::get_id(); }

asio::awaitable<int> Throwing() {
  throw std::runtime_error("defect");
  co_return 1;
}

// Ends by itself after `pause`, or by cancellation.
asio::awaitable<int> Pausing(Clock::duration pause) {
  asio::steady_timer timer(co_await asio::this_coro::executor, pause);
  try {
    co_await timer.async_wait(asio::use_awaitable);
  } catch (const boost::system::system_error&) {
    co_return 2;
  }
  co_return 1;
}

class RunOnTest : public ::testing::Test {
 protected:
  IoThreads io_{2};
};

TEST_F(RunOnTest, RunsThereAndReturnsHere) {
  std::future<bool> right = asio::co_spawn(
      io_.At(0),
      [](asio::any_io_executor other) -> asio::awaitable<bool> {
        const std::thread::id here = std::this_thread::get_id();
        const std::thread::id there = co_await RunOn(other, ThreadId());
        co_return there != here&& std::this_thread::get_id() == here;
      }(io_.At(1).get_executor()),
      asio::use_future);
  EXPECT_TRUE(right.get());
}

TEST_F(RunOnTest, LetsExceptionsOut) {
  std::future<int> failed = asio::co_spawn(io_.At(0), RunOn(io_.At(1).get_executor(), Throwing()), asio::use_future);
  EXPECT_THROW(failed.get(), std::runtime_error);
}

TEST_F(RunOnTest, HandsCancellationOverAndWaitsForTheEnd) {
  asio::cancellation_signal cancel;
  std::promise<int> result;
  asio::co_spawn(io_.At(0), RunOn(io_.At(1).get_executor(), Pausing(kPatience)),
                 asio::bind_cancellation_slot(cancel.slot(), [&](const std::exception_ptr& error, int value) {
                   result.set_value(error ? -1 : value);
                 }));
  asio::post(io_.At(0), [&] { cancel.emit(asio::cancellation_type::terminal); });
  const int value = result.get_future().get();
  // The body was cancelled before or while it waited.
  EXPECT_TRUE(value == 2 || value == -1) << value;
}

// The end of the work and the cancellation meet in every order.
TEST_F(RunOnTest, SurvivesACancellationThatMeetsTheEnd) {
  for (int round = 0; round < 3000; ++round) {
    asio::cancellation_signal cancel;
    std::promise<void> ended;
    asio::co_spawn(
        io_.At(0),
        [](asio::any_io_executor other, int wait) -> asio::awaitable<void> {
          // Two calls after each other share the caller's slot.
          co_await RunOn(other, Pausing(std::chrono::microseconds(wait)));
          co_await RunOn(other, Pausing(std::chrono::microseconds(wait)));
        }(io_.At(1).get_executor(), round % 50),
        asio::bind_cancellation_slot(cancel.slot(), [&](const std::exception_ptr&) { ended.set_value(); }));
    std::promise<void> emitted;
    asio::post(io_.At(0), [&] {
      cancel.emit(asio::cancellation_type::terminal);
      emitted.set_value();
    });
    emitted.get_future().get();
    ended.get_future().get();
  }
}

}  // namespace
}  // namespace dragonfly::runtime
