// SPDX-License-Identifier: Apache-2.0
// The variables by which operators steer the tracing of any OpenTelemetry program.
#pragma once

#include <functional>
#include <string>
#include <utility>
#include <vector>

#include "telemetry/trace.h"

namespace dragonfly::telemetry {

struct TraceEnvironment {
  bool disabled = false;                                     // OTEL_SDK_DISABLED=true
  std::vector<std::pair<std::string, std::string>> headers;  // OTEL_EXPORTER_OTLP_[TRACES_]HEADERS
  std::vector<std::string> warnings;                         // values that mean nothing, by variable
};

// Applies to `options`:
//   OTEL_SERVICE_NAME                      service.name
//   OTEL_RESOURCE_ATTRIBUTES               "key=value,...": what `options` does not know already
//   OTEL_TRACES_SAMPLER[_ARG]              always_on, always_off, traceidratio, and their parentbased_ forms
//   OTEL_BSP_MAX_QUEUE_SIZE, OTEL_BSP_MAX_EXPORT_BATCH_SIZE, OTEL_BSP_SCHEDULE_DELAY (ms)
//   OTEL_EXPORTER_OTLP_TRACES_TIMEOUT, else OTEL_EXPORTER_OTLP_TIMEOUT, else OTEL_BSP_EXPORT_TIMEOUT (ms)
// Meaning and defaults: https://opentelemetry.io/docs/specs/otel/configuration/sdk-environment-variables/ and
// .../protocol/exporter/. `get`: the value of a variable or null, as std::getenv.
TraceEnvironment ApplyTraceEnvironment(const std::function<const char*(const char*)>& get, TracerOptions& options);

}  // namespace dragonfly::telemetry
