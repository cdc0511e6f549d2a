// SPDX-License-Identifier: Apache-2.0
#include "telemetry/metrics.h"

#include <gmock/gmock.h>
#include <prometheus/counter.h>
#include <prometheus/registry.h>
#include <unistd.h>

#include <ctime>
#include <optional>
#include <sstream>

#include "base/unique_fd.h"

namespace dragonfly::telemetry {
namespace {

// The value of a metric without labels.
std::optional<double> ValueOf(const std::string& text, const std::string& name) {
  std::istringstream lines(text);
  for (std::string line; std::getline(lines, line);)
    if (line.starts_with(name + " ")) return std::stod(line.substr(name.size() + 1));
  return std::nullopt;
}

TEST(Metrics, RendersWhatWasRegistered) {
  Metrics metrics;
  prometheus::BuildCounter()
      .Name("dragonfly_test_total")
      .Help("A test.")
      .Register(metrics.registry())
      .Add({{"type", "a\"b"}})
      .Increment(3);
  const std::string text = metrics.Render();
  EXPECT_THAT(text, testing::HasSubstr("# HELP dragonfly_test_total A test.\n# TYPE dragonfly_test_total counter\n"
                                       "dragonfly_test_total{type=\"a\\\"b\"} 3\n"));
}

TEST(Metrics, RegistriesKeepApart) {
  Metrics one;
  Metrics other;
  prometheus::BuildCounter().Name("only_here").Help("").Register(one.registry()).Add({}).Increment();
  EXPECT_THAT(one.Render(), testing::HasSubstr("only_here"));
  EXPECT_THAT(other.Render(), testing::Not(testing::HasSubstr("only_here")));
}

TEST(Metrics, TellsAboutTheProcess) {
  Metrics metrics;
  const std::string text = metrics.Render();
  EXPECT_GE(ValueOf(text, "process_cpu_seconds_total").value_or(-1), 0);
  EXPECT_GT(ValueOf(text, "process_resident_memory_bytes").value_or(0), 1 << 20);
  EXPECT_GT(ValueOf(text, "process_virtual_memory_bytes").value_or(0),
            ValueOf(text, "process_resident_memory_bytes").value_or(0));
  EXPECT_GE(ValueOf(text, "process_threads").value_or(0), 1);
  EXPECT_GT(ValueOf(text, "process_max_fds").value_or(0), 3);
  const double start = ValueOf(text, "process_start_time_seconds").value_or(0);
  const auto now = static_cast<double>(std::time(nullptr));
  EXPECT_LE(start, now + 1);
  EXPECT_GT(start, now - 3600);
}

TEST(Metrics, CountsOpenFiles) {
  Metrics metrics;
  const double before = *ValueOf(metrics.Render(), "process_open_fds");
  const UniqueFd fd(::dup(STDERR_FILENO));
  EXPECT_EQ(*ValueOf(metrics.Render(), "process_open_fds"), before + 1);
}

}  // namespace
}  // namespace dragonfly::telemetry
