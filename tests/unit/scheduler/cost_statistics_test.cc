// SPDX-License-Identifier: Apache-2.0
#include "scheduler/cost_statistics.h"

#include <chrono>
#include <vector>

#include "gtest/gtest.h"

namespace dragonfly::scheduler {
namespace {

using namespace std::chrono_literals;

bool Verdict(const std::vector<int>& costs_ms) {
  CostStatistics statistics;
  for (const int cost : costs_ms) statistics.Add(std::chrono::milliseconds(cost));
  return statistics.LastIsOutlier();
}

std::vector<int> Repeated(int cost, size_t times, int last) {
  std::vector<int> costs(times, cost);
  costs.push_back(last);
  return costs;
}

// Rule: dragonfly v2.3.0, scheduler/scheduling/evaluator/evaluator_base.go.
TEST(CostStatistics, GivesTheVerdictOfTheReference) {
  struct Row {
    const char* what;
    std::vector<int> costs;
    bool bad;
  };
  const std::vector<Row> rows = {
      {"none", {}, false},
      {"one", {1000}, false},
      {"twenty times the other is not above it", {10, 200}, false},
      {"above twenty times", {10, 201}, true},
      {"mean of several", {10, 20, 30, 400}, false},
      {"above twenty times their mean", {10, 20, 30, 401}, true},
      {"29 samples: mean rule", Repeated(10, 28, 150), false},
      {"30 samples: deviation rule, all equal", Repeated(10, 29, 11), true},
      {"30 samples: at the mean", Repeated(10, 29, 10), false},
      {"recovered", {10, 1000, 10}, false},
  };
  for (const Row& row : rows) EXPECT_EQ(Verdict(row.costs), row.bad) << row.what;
}

TEST(CostStatistics, AppliesThreePopulationDeviations) {
  // 40 costs of 10 and 20 in turn: mean 15, population deviation 5, bound 30.
  std::vector<int> costs;
  for (int i = 0; i < 40; ++i) costs.push_back(i % 2 == 0 ? 10 : 20);
  std::vector<int> below = costs;
  below.push_back(30);
  std::vector<int> above = costs;
  above.push_back(31);
  EXPECT_FALSE(Verdict(below));
  EXPECT_TRUE(Verdict(above));
}

TEST(CostStatistics, ForgetsWhatIsLongPast) {
  CostStatistics statistics;
  for (uint32_t i = 0; i < CostStatistics::kWindow; ++i) statistics.Add(10ms);
  for (uint32_t i = 0; i < 8 * CostStatistics::kWindow; ++i) statistics.Add(i % 2 == 0 ? 900ms : 1100ms);
  statistics.Add(1200ms);
  EXPECT_FALSE(statistics.LastIsOutlier());
  EXPECT_LE(statistics.count(), CostStatistics::kWindow + 1);
}

}  // namespace
}  // namespace dragonfly::scheduler
