// SPDX-License-Identifier: Apache-2.0
#include "runtime/for_each.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <vector>

#include "runtime/io_threads.h"
#include "runtime/signal.h"
#include "runtime/timeout.h"
#include "tests/unit/runtime/run_coroutine.h"

namespace dragonfly::runtime {
namespace {

namespace asio = boost::asio;

struct Seen {
  std::vector<size_t> begun;
  size_t running = 0;
  size_t most = 0;
  size_t ended = 0;
};

asio::awaitable<void> Step(Seen* seen, size_t index, Clock::duration time) {
  seen->begun.push_back(index);
  seen->most = std::max(seen->most, ++seen->running);
  const std::shared_ptr<void> gone(nullptr, [seen](void*) {
    --seen->running;
    ++seen->ended;
  });
  co_await SleepUntil(Clock::now() + time);
}

TEST(ForEach, RunsAllInOrderAndNoMoreAtOnceThanItIsTold) {
  IoThreads io(1);
  Seen seen;
  const auto work = [&seen](size_t index) { return Step(&seen, index, std::chrono::milliseconds(1)); };
  const auto run = [](std::function<asio::awaitable<void>(size_t)> step) -> asio::awaitable<int> {
    co_await ForEach(20, 3, step);
    co_return 1;
  };
  EXPECT_EQ(RunOn(io.At(0), run(work)), 1);
  EXPECT_EQ(seen.most, 3u);
  ASSERT_EQ(seen.begun.size(), 20u);
  for (size_t i = 0; i < 20; ++i) EXPECT_EQ(seen.begun[i], i);
}

TEST(ForEach, EndsAllWhenItIsCancelled) {
  IoThreads io(1);
  Seen seen;
  const auto work = [&seen](size_t index) { return Step(&seen, index, std::chrono::hours(1)); };
  const auto run = [](std::function<asio::awaitable<void>(size_t)> step) -> asio::awaitable<absl::Status> {
    co_await ForEach(20, 3, step);
    co_return absl::OkStatus();
  };
  const auto bounded = [](asio::awaitable<absl::Status> inner) -> asio::awaitable<absl::Status> {
    co_return co_await WithDeadline(std::move(inner), Clock::now() + std::chrono::milliseconds(50));
  };
  const absl::Status status = RunOn(io.At(0), bounded(run(work)));
  EXPECT_EQ(status.code(), absl::StatusCode::kDeadlineExceeded) << status;
  EXPECT_EQ(seen.begun.size(), 3u);
  EXPECT_EQ(seen.ended, 3u);
}

}  // namespace
}  // namespace dragonfly::runtime
