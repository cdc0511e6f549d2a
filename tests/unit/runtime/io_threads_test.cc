// SPDX-License-Identifier: Apache-2.0
#include "runtime/io_threads.h"

#include <gtest/gtest.h>
#include <pthread.h>

#include <array>
#include <set>
#include <string>

#include "tests/unit/runtime/run_coroutine.h"

namespace dragonfly::runtime {
namespace {

namespace asio = boost::asio;

asio::awaitable<std::string> ThreadName() {
  std::array<char, 32> name{};
  ::pthread_getname_np(::pthread_self(), name.data(), name.size());
  co_return std::string(name.data());
}

TEST(IoThreads, NamesItsThreads) {
  IoThreads io(3);
  ASSERT_EQ(io.size(), 3u);
  // Names are set by the thread that starts them, right after the start.
  EXPECT_EQ(RunOn(io.At(0), ThreadName()), "io-0");
  EXPECT_EQ(RunOn(io.At(2), ThreadName()), "io-2");
}

TEST(IoThreads, HasAtLeastTwoByDefault) { EXPECT_GE(IoThreads().size(), 2u); }

TEST(IoThreads, NextGoesRound) {
  IoThreads io(3);
  std::set<asio::io_context*> seen;
  for (int i = 0; i < 3; ++i) seen.insert(&io.Next());
  EXPECT_EQ(seen.size(), 3u);
}

TEST(IoThreads, ForIsStable) {
  IoThreads io(4);
  std::set<asio::io_context*> seen;
  for (int i = 0; i < 100; ++i) {
    const std::string key = "task-" + std::to_string(i);
    EXPECT_EQ(&io.For(key), &io.For(key));
    seen.insert(&io.For(key));
  }
  EXPECT_EQ(seen.size(), 4u);
}

}  // namespace
}  // namespace dragonfly::runtime
