// SPDX-License-Identifier: Apache-2.0
#include "daemon/overload_monitor.h"

#include <algorithm>
#include <chrono>
#include <utility>

#include "runtime/timeout.h"
#include "telemetry/log.h"

namespace dragonfly::daemon {

namespace asio = boost::asio;

namespace {

bool Reached(double percent, uint64_t threshold) {
  return threshold < 100 && percent >= static_cast<double>(threshold);
}

}  // namespace

OverloadMonitor::OverloadMonitor(const Options& options, asio::io_context& io,
                                 std::function<runtime::LoadSample(TimePoint)> sample)
    : options_(options), sample_(std::move(sample)), tasks_(io.get_executor()) {}

void OverloadMonitor::Start() { tasks_.Spawn(Run()); }

asio::awaitable<void> OverloadMonitor::Stop() { co_await tasks_.Stop(); }

void OverloadMonitor::Look() {
  const runtime::LoadSample sample = sample_(Clock::now());
  const bool now =
      Reached(sample.cpu_percent, options_.cpu_threshold) || Reached(sample.memory_percent, options_.memory_threshold);
  if (overloaded_.exchange(now) == now) return;
  if (now) {
    DF_LOG(Warn, "overloaded: {:.0f} % of the memory (threshold {} %) and {:.0f} % of the CPU time (threshold {} %)",
           sample.memory_percent, options_.memory_threshold, sample.cpu_percent, options_.cpu_threshold);
  } else {
    DF_LOG(Info, "not overloaded any more: {:.0f} % of the memory and {:.0f} % of the CPU time are used",
           sample.memory_percent, sample.cpu_percent);
  }
}

asio::awaitable<void> OverloadMonitor::Run() {
  const Clock::duration interval = std::max<Clock::duration>(options_.collect_interval, std::chrono::milliseconds(100));
  for (;;) {
    Look();
    co_await runtime::SleepUntil(Clock::now() + interval);
  }
}

}  // namespace dragonfly::daemon
