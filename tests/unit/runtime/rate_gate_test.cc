// SPDX-License-Identifier: Apache-2.0
#include "runtime/rate_gate.h"

#include <gtest/gtest.h>

#include <atomic>
#include <chrono>
#include <thread>
#include <vector>

namespace dragonfly::runtime {
namespace {

using std::chrono::milliseconds;

int Admitted(RateGate& gate, TimePoint now, int calls) {
  int admitted = 0;
  for (int i = 0; i < calls; ++i) admitted += gate.Admit(now) ? 1 : 0;
  return admitted;
}

TEST(RateGate, AdmitsASecondsWorthAtOnceAndThenTheRate) {
  RateGate gate(100);
  const TimePoint begin{std::chrono::hours(1)};
  EXPECT_EQ(Admitted(gate, begin, 1000), 100);
  EXPECT_EQ(Admitted(gate, begin + milliseconds(100), 1000), 10);
  EXPECT_EQ(Admitted(gate, begin + milliseconds(105), 1000), 0) << "what is refused costs nothing, nor is it owed";
  EXPECT_EQ(Admitted(gate, begin + milliseconds(110), 1000), 1);
  EXPECT_EQ(Admitted(gate, begin + std::chrono::hours(1), 1000), 100) << "idleness is not saved up";
}

TEST(RateGate, NoRateAdmitsEverything) {
  RateGate gate(0);
  EXPECT_EQ(Admitted(gate, TimePoint(), 100'000), 100'000);
}

TEST(RateGate, ThreadsTogetherGetNoMoreThanOne) {
  RateGate gate(1000);
  const TimePoint now{std::chrono::hours(1)};
  std::atomic<int> admitted{0};
  std::vector<std::thread> threads;
  for (int i = 0; i < 4; ++i) threads.emplace_back([&] { admitted += Admitted(gate, now, 1000); });
  for (std::thread& thread : threads) thread.join();
  EXPECT_EQ(admitted.load(), 1000);
}

}  // namespace
}  // namespace dragonfly::runtime
