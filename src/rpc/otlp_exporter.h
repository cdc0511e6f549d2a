// SPDX-License-Identifier: Apache-2.0
// Spans to a collector over gRPC: opentelemetry.proto.collector.trace.v1.TraceService.
#pragma once

#include <memory>
#include <string>
#include <utility>
#include <vector>

#include "absl/status/statusor.h"
#include "telemetry/span_exporter.h"

namespace dragonfly::rpc {

struct OtlpExporterOptions {
  // "jaeger:4317", plaintext; also "http://jaeger:4317", and "https://..." for TLS with the system's authorities.
  std::string endpoint;
  std::vector<std::pair<std::string, std::string>> headers;  // sent as metadata; names in any case
};

// Connects with the first export. Errors: INVALID_ARGUMENT naming the header that gRPC cannot carry; its value is not
// shown, since it is often a secret.
absl::StatusOr<std::unique_ptr<telemetry::SpanExporter>> MakeOtlpExporter(OtlpExporterOptions options);

}  // namespace dragonfly::rpc
