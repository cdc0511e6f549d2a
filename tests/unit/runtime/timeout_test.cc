// SPDX-License-Identifier: Apache-2.0
#include "runtime/timeout.h"

#include <gtest/gtest.h>

#include <boost/asio/bind_cancellation_slot.hpp>
#include <boost/asio/cancellation_signal.hpp>
#include <boost/asio/error.hpp>
#include <boost/system/system_error.hpp>
#include <stdexcept>
#include <string>

#include "runtime/io_threads.h"
#include "tests/unit/runtime/run_coroutine.h"

namespace dragonfly::runtime {
namespace {

namespace asio = boost::asio;

asio::awaitable<absl::Status> Sleepy(TimePoint until, absl::Status result) {
  co_await SleepUntil(until);
  co_return result;
}

asio::awaitable<absl::StatusOr<std::string>> Text(std::string text) { co_return text; }

asio::awaitable<absl::StatusOr<std::string>> NeverText() {
  co_await SleepUntil(kNoDeadline);
  co_return "never";
}

asio::awaitable<absl::Status> Throwing() {
  throw std::runtime_error("defect");
  co_return absl::OkStatus();
}

TimePoint Soon() { return Clock::now() + std::chrono::milliseconds(5); }
TimePoint Late() { return Clock::now() + kPatience; }

TEST(WithDeadline, GivesTheResultOfWorkThatIsInTime) {
  IoThreads io(1);
  EXPECT_EQ(RunOn(io.At(0), WithDeadline(Sleepy(Soon(), absl::NotFoundError("x")), Late())), absl::NotFoundError("x"));
  EXPECT_EQ(RunOn(io.At(0), WithDeadline(Text("hello"), Late())).value(), "hello");
  EXPECT_EQ(RunOn(io.At(0), WithDeadline(Text("hello"), kNoDeadline)).value(), "hello");
}

TEST(WithDeadline, CancelsWorkThatIsLate) {
  IoThreads io(1);
  EXPECT_EQ(RunOn(io.At(0), WithDeadline(Sleepy(kNoDeadline, absl::OkStatus()), Soon())).code(),
            absl::StatusCode::kDeadlineExceeded);
  EXPECT_EQ(RunOn(io.At(0), WithDeadline(NeverText(), Soon())).status().code(), absl::StatusCode::kDeadlineExceeded);
  EXPECT_EQ(RunOn(io.At(0), WithDeadline(Text("late"), Clock::now())).status().code(),
            absl::StatusCode::kDeadlineExceeded);
}

TEST(WithDeadline, ThrowsOnWhatTheWorkThrows) {
  IoThreads io(1);
  EXPECT_THROW(static_cast<void>(RunOn(io.At(0), WithDeadline(Throwing(), Late()))), std::runtime_error);
}

TEST(WithDeadline, CancellingTheCallerCancelsTheWork) {
  asio::io_context io;
  asio::cancellation_signal cancel;
  std::exception_ptr failure;
  asio::co_spawn(io, WithDeadline(Sleepy(kNoDeadline, absl::OkStatus()), Late()),
                 asio::bind_cancellation_slot(cancel.slot(), [&](std::exception_ptr e, absl::Status) { failure = e; }));
  io.poll();
  cancel.emit(asio::cancellation_type::terminal);
  io.run();
  ASSERT_TRUE(failure);
  try {
    std::rethrow_exception(failure);
  } catch (const boost::system::system_error& error) {
    EXPECT_EQ(error.code(), asio::error::operation_aborted);
  }
}

}  // namespace
}  // namespace dragonfly::runtime
