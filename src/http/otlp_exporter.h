// SPDX-License-Identifier: Apache-2.0
// Spans to a collector over HTTP: OTLP/HTTP with binary protobuf (https://opentelemetry.io/docs/specs/otlp/#otlphttp).
#pragma once

#include <memory>
#include <string>
#include <utility>
#include <vector>

#include "absl/status/statusor.h"
#include "telemetry/span_exporter.h"

namespace dragonfly::http {

struct OtlpExporterOptions {
  std::string url;  // "http://jaeger:4318/v1/traces"; https is checked against the system's authorities
  std::vector<std::pair<std::string, std::string>> headers;
};

// Keeps its connection. Errors: INVALID_ARGUMENT for a bad URL or header; values of headers are not shown.
absl::StatusOr<std::unique_ptr<telemetry::SpanExporter>> MakeOtlpExporter(OtlpExporterOptions options);

}  // namespace dragonfly::http
