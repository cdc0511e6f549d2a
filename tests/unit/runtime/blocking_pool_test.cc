// SPDX-License-Identifier: Apache-2.0
#include "runtime/blocking_pool.h"

#include <gtest/gtest.h>

#include <atomic>
#include <semaphore>
#include <string>
#include <thread>
#include <vector>

#include "absl/status/status.h"
#include "runtime/io_threads.h"
#include "tests/unit/runtime/run_coroutine.h"

namespace dragonfly::runtime {
namespace {

namespace asio = boost::asio;

TEST(BlockingPool, RunsElsewhereAndResumesAtHome) {
  IoThreads io(1);
  BlockingPool pool(2, 8);
  struct Caller {
    static asio::awaitable<bool> Run(BlockingPool& p) {
      const std::thread::id home = std::this_thread::get_id();
      std::thread::id worker;
      std::function<absl::Status()> job = [&worker] {
        worker = std::this_thread::get_id();
        return absl::NotFoundError("x");
      };
      const absl::Status status = co_await p.Run(std::move(job));
      co_return status == absl::NotFoundError("x") && worker != home&& std::this_thread::get_id() == home;
    }
  };
  EXPECT_TRUE(RunOn(io.At(0), Caller::Run(pool)));
}

TEST(BlockingPool, ReturnsValues) {
  IoThreads io(1);
  BlockingPool pool(1, 1);
  std::function<absl::StatusOr<std::string>()> job = [] { return std::string("done"); };
  EXPECT_EQ(RunOn(io.At(0), pool.Run<std::string>(job)).value(), "done");
}

TEST(BlockingPool, RefusesWhatDoesNotFitTheQueue) {
  IoThreads io(1);
  BlockingPool pool(1, 2);
  std::binary_semaphore running(0);
  std::counting_semaphore<8> release(0);
  std::function<absl::Status()> job = [&] {
    running.release();
    release.acquire();
    return absl::OkStatus();
  };
  std::vector<std::future<absl::Status>> admitted;
  for (int i = 0; i < 3; ++i) admitted.push_back(asio::co_spawn(io.At(0), pool.Run(job), asio::use_future));
  ASSERT_TRUE(running.try_acquire_for(kPatience));
  EXPECT_EQ(RunOn(io.At(0), pool.Run(job)).code(), absl::StatusCode::kResourceExhausted);
  release.release(3);
  for (std::future<absl::Status>& status : admitted) {
    ASSERT_EQ(status.wait_for(kPatience), std::future_status::ready);
    EXPECT_TRUE(status.get().ok());
  }
  release.release(1);
  EXPECT_TRUE(RunOn(io.At(0), pool.Run(job)).ok());
}

TEST(BlockingPool, RunsQueuedJobsBeforeItEnds) {
  IoThreads io(1);
  std::atomic<int> ran = 0;
  std::vector<std::future<absl::Status>> results;
  {
    BlockingPool pool(2, 100);
    std::function<absl::Status()> job = [&] {
      ++ran;
      return absl::OkStatus();
    };
    for (int i = 0; i < 100; ++i) results.push_back(asio::co_spawn(io.At(0), pool.Run(job), asio::use_future));
    EXPECT_TRUE(RunOn(io.At(0), pool.Run(job)).ok());  // behind the hundred: they are all queued
  }
  EXPECT_EQ(ran, 101);
  for (std::future<absl::Status>& result : results) {
    ASSERT_EQ(result.wait_for(kPatience), std::future_status::ready);
  }
}

TEST(BlockingPool, PostsWhatNobodyWaitsFor) {
  std::binary_semaphore running(0);
  std::binary_semaphore release(0);
  std::atomic<int> ran = 0;
  {
    BlockingPool pool(1, 1);
    ASSERT_TRUE(pool.Post([&] {
      running.release();
      release.acquire();
      ++ran;
    }));
    ASSERT_TRUE(running.try_acquire_for(kPatience));
    EXPECT_TRUE(pool.Post([&] { ++ran; }));
    EXPECT_FALSE(pool.Post([&] { ++ran; })) << "the queue is full";
    release.release();
  }
  EXPECT_EQ(ran, 2);
}

}  // namespace
}  // namespace dragonfly::runtime
