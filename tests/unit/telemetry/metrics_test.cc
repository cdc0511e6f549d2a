// SPDX-License-Identifier: Apache-2.0
#include "telemetry/metrics.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <prometheus/counter.h>
#include <prometheus/gauge.h>
#include <prometheus/histogram.h>
#include <prometheus/registry.h>

namespace dragonfly::telemetry {
namespace {

using testing::HasSubstr;
using testing::Not;

TEST(Metrics, RendersItsRegistryAndTheProcess) {
  Metrics metrics;
  prometheus::BuildCounter().Name("df_calls_total").Register(metrics.registry()).Add({{"kind", "a"}}).Increment(3);
  const std::string page = metrics.Render();
  EXPECT_THAT(page, HasSubstr("df_calls_total{kind=\"a\"} 3"));
  EXPECT_THAT(page, HasSubstr("process_"));
}

TEST(Metrics, TwoServersOfOneProcessKeepApart) {
  Metrics a, b;
  prometheus::BuildCounter().Name("df_calls_total").Register(a.registry()).Add({}).Increment();
  EXPECT_THAT(b.Render(), Not(HasSubstr("df_calls_total")));
}

TEST(Metrics, ResetBeginsSumsAgainAndKeepsStates) {
  Metrics metrics;
  auto& family = prometheus::BuildCounter().Name("df_calls_total").Register(metrics.registry());
  auto& a = family.Add({{"kind", "a"}});
  auto& b = family.Add({{"kind", "b"}});
  auto& state = prometheus::BuildGauge().Name("df_state").Register(metrics.registry()).Add({});
  auto& cost = prometheus::BuildHistogram()
                   .Name("df_cost")
                   .Register(metrics.registry())
                   .Add({}, prometheus::Histogram::BucketBoundaries{1, 10});
  a.Increment(3);
  b.Increment(4);
  state.Set(7);
  cost.Observe(0.5);
  cost.Observe(5);

  metrics.Reset();
  a.Increment(2);
  cost.Observe(5);
  const std::string page = metrics.Render();
  EXPECT_THAT(page, HasSubstr("df_calls_total{kind=\"a\"} 2"));
  EXPECT_THAT(page, HasSubstr("df_calls_total{kind=\"b\"} 0"));
  EXPECT_THAT(page, HasSubstr("df_state 7"));
  EXPECT_THAT(page, HasSubstr("df_cost_count 1"));
  EXPECT_THAT(page, HasSubstr("df_cost_sum 5"));
  EXPECT_THAT(page, HasSubstr("df_cost_bucket{le=\"1\"} 0"));
  EXPECT_THAT(page, HasSubstr("df_cost_bucket{le=\"10\"} 1"));
}

}  // namespace
}  // namespace dragonfly::telemetry
