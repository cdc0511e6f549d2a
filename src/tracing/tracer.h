// SPDX-License-Identifier: Apache-2.0
// The export of a program's spans, as the section `tracing` of its configuration and the environment say. See
// docs/telemetry.md.
#pragma once

#include <memory>
#include <string>
#include <utility>
#include <vector>

#include "absl/status/statusor.h"
#include "telemetry/trace.h"

namespace dragonfly::tracing {

struct ExportOptions {
  std::string protocol;  // grpc, http, https; with the endpoint empty or this: nothing is exported
  std::string endpoint;  // host:port
  std::string path;      // with http and https
  std::vector<std::pair<std::string, std::string>> headers;
};

// Null when nothing is to be exported. `tracer` has what the program knows of itself; the environment adds to it
// (telemetry::ApplyTraceEnvironment). Does not connect yet. Errors: INVALID_ARGUMENT naming the key.
absl::StatusOr<std::unique_ptr<telemetry::Tracer>> MakeTracer(const ExportOptions& options,
                                                              telemetry::TracerOptions tracer);

}  // namespace dragonfly::tracing
