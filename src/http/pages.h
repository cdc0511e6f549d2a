// SPDX-License-Identifier: Apache-2.0
// What every server shows over HTTP: health, metrics and profiles. Paths: client v1.0.0,
// dragonfly-client/src/{health,metrics,stats}/mod.rs; /readyz is our own. See docs/telemetry.md.
#pragma once

#include <functional>
#include <string>
#include <vector>

#include "http/router.h"
#include "runtime/blocking_pool.h"
#include "telemetry/metrics.h"

namespace dragonfly::http {

// One line of /readyz.
struct ReadinessCheck {
  enum class State { kOk, kWarning, kFailed };  // a warning leaves the server ready
  std::string name;                             // "schedulers"
  State state = State::kOk;
  std::string text;  // "2 of 2 serve"
};

// GET /healthy: 200 with an empty body while `serves()`, else 503. GET /readyz: "ready" or "not ready", then a line for
// each check; 503 when one has failed. Both are called on the server's thread and must not block.
Router MakeHealthPages(std::function<bool()> serves, std::function<std::vector<ReadinessCheck>()> checks);
// The same beside other pages.
void AddHealthPages(Router& router, std::function<bool()> serves, std::function<std::vector<ReadinessCheck>()> checks);

// GET /metrics: the text format, after `refresh()`. DELETE /metrics: counters begin at 0 again. `metrics` must outlive
// the server.
Router MakeMetricsPages(telemetry::Metrics& metrics, std::function<void()> refresh);

// GET /debug/pprof/profile?seconds=10&frequency=1000 and GET /debug/pprof/heap, for `go tool pprof`. 400 names a bad
// parameter; 409: another profile is being taken; 501: the heap cannot be profiled. `blocking` must outlive the server.
Router MakeStatsPages(runtime::BlockingPool& blocking);

}  // namespace dragonfly::http
