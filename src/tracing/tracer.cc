// SPDX-License-Identifier: Apache-2.0
#include "tracing/tracer.h"

#include <cstdlib>
#include <string_view>
#include <utility>

#include "base/status.h"
#include "base/text.h"
#include "http/otlp_exporter.h"
#include "rpc/otlp_exporter.h"
#include "telemetry/log.h"
#include "telemetry/span_exporter.h"
#include "telemetry/trace_environment.h"

namespace dragonfly::tracing {
namespace {

using Headers = std::vector<std::pair<std::string, std::string>>;

absl::StatusOr<std::unique_ptr<telemetry::SpanExporter>> MakeExporter(const ExportOptions& options, Headers headers) {
  if (options.protocol == "grpc") {
    return rpc::MakeOtlpExporter({.endpoint = options.endpoint, .headers = std::move(headers)});
  }
  if (options.protocol == "http" || options.protocol == "https") {
    const std::string_view slash = options.path.starts_with('/') ? "" : "/";
    return http::MakeOtlpExporter(
        {.url = StrCat(options.protocol, "://", options.endpoint, slash, options.path), .headers = std::move(headers)});
  }
  return absl::InvalidArgumentError(StrCat("protocol ", Quoted(options.protocol), " is none of grpc, http, https"));
}

}  // namespace

absl::StatusOr<std::unique_ptr<telemetry::Tracer>> MakeTracer(const ExportOptions& options,
                                                              telemetry::TracerOptions tracer) {
  if (options.protocol.empty() || options.endpoint.empty()) return nullptr;
  telemetry::TraceEnvironment environment = telemetry::ApplyTraceEnvironment(&std::getenv, tracer);
  for (const std::string& warning : environment.warnings) DF_LOG(Warn, "{}", warning);
  if (environment.disabled) {
    DF_LOG(Info, "traces are not exported: OTEL_SDK_DISABLED is true");
    return nullptr;
  }
  // The file is nearer to this program than the environment.
  Headers headers = options.headers.empty() ? std::move(environment.headers) : options.headers;
  auto exporter = MakeExporter(options, std::move(headers));
  if (!exporter.ok()) return Annotate(exporter.status(), "tracing");
  DF_LOG(Info, "traces go to {} by {}", options.endpoint, options.protocol);
  return std::make_unique<telemetry::Tracer>(std::move(tracer), *std::move(exporter));
}

}  // namespace dragonfly::tracing
