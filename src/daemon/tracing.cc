// SPDX-License-Identifier: Apache-2.0
#include "daemon/tracing.h"

#include <cstdlib>
#include <utility>

#include "base/status.h"
#include "base/text.h"
#include "http/otlp_exporter.h"
#include "rpc/otlp_exporter.h"
#include "telemetry/log.h"
#include "telemetry/span_exporter.h"
#include "telemetry/trace_environment.h"

namespace dragonfly::daemon {
namespace {

using Headers = std::vector<std::pair<std::string, std::string>>;

absl::StatusOr<std::unique_ptr<telemetry::SpanExporter>> MakeExporter(const DaemonConfig::Tracing& tracing,
                                                                      Headers headers) {
  if (tracing.protocol == "grpc") {
    return rpc::MakeOtlpExporter({.endpoint = tracing.endpoint, .headers = std::move(headers)});
  }
  if (tracing.protocol == "http" || tracing.protocol == "https") {
    const std::string_view slash = tracing.path.starts_with('/') ? "" : "/";
    return http::MakeOtlpExporter(
        {.url = StrCat(tracing.protocol, "://", tracing.endpoint, slash, tracing.path), .headers = std::move(headers)});
  }
  return absl::InvalidArgumentError(StrCat("protocol ", Quoted(tracing.protocol), " is none of grpc, http, https"));
}

}  // namespace

absl::StatusOr<std::unique_ptr<telemetry::Tracer>> MakeTracer(const DaemonConfig& config,
                                                              const HostIdentity& identity) {
  const DaemonConfig::Tracing& tracing = config.tracing;
  if (!tracing.enabled()) return nullptr;
  telemetry::TracerOptions options;
  options.name = "dfdaemon";
  options.resource = {{"service.name", StrCat("dfdaemon-", identity.ip)},
                      {"service.namespace", "dragonfly"},
                      {"host.name", identity.hostname},
                      {"host.ip", identity.ip},
                      {"host.idc", config.host.idc},
                      {"host.location", config.host.location},
                      {"host.seed_peer", identity.seed}};
  telemetry::TraceEnvironment environment = telemetry::ApplyTraceEnvironment(&std::getenv, options);
  for (const std::string& warning : environment.warnings) DF_LOG(Warn, "{}", warning);
  if (environment.disabled) {
    DF_LOG(Info, "traces are not exported: OTEL_SDK_DISABLED is true");
    return nullptr;
  }
  // The file is nearer to this program than the environment.
  Headers headers = tracing.headers.empty() ? std::move(environment.headers) : tracing.headers;
  auto exporter = MakeExporter(tracing, std::move(headers));
  if (!exporter.ok()) return Annotate(exporter.status(), "tracing");
  DF_LOG(Info, "traces go to {} by {}", tracing.endpoint, tracing.protocol);
  return std::make_unique<telemetry::Tracer>(std::move(options), *std::move(exporter));
}

}  // namespace dragonfly::daemon
