// SPDX-License-Identifier: Apache-2.0
// The way of spans out of the program. Implementations stand where their transport does: rpc/otlp_exporter.h,
// http/otlp_exporter.h.
#pragma once

#include <chrono>
#include <string>

#include "absl/status/statusor.h"

namespace dragonfly::telemetry {

class SpanExporter {
 public:
  virtual ~SpanExporter() = default;
  // Sends `request`, a serialised opentelemetry.proto.collector.trace.v1.ExportTraceServiceRequest, and returns the
  // serialised ExportTraceServiceResponse (may be empty). Blocks until `deadline` at most; one call at a time.
  // Errors: UNAVAILABLE when another try may help; messages name the collector.
  virtual absl::StatusOr<std::string> Export(const std::string& request,
                                             std::chrono::steady_clock::time_point deadline) = 0;
  // Makes the running and all later exports fail soon. Any thread.
  virtual void Cancel() = 0;
};

}  // namespace dragonfly::telemetry
