// SPDX-License-Identifier: Apache-2.0
#include "daemon/tracing.h"

#include <google/protobuf/message.h>

#include <cstdlib>
#include <optional>
#include <utility>

#include "base/status.h"
#include "base/text.h"
#include "base/url.h"
#include "daemon/task_manager.h"
#include "dfdaemon/v2/dfdaemon.pb.h"
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

namespace {

// The field of that name, when the message has it and it says something.
std::string TextOf(const google::protobuf::Message& message, const char* name) {
  const google::protobuf::FieldDescriptor* const field = message.GetDescriptor()->FindFieldByName(name);
  if (field == nullptr || field->is_repeated() ||
      field->cpp_type() != google::protobuf::FieldDescriptor::CPPTYPE_STRING) {
    return "";
  }
  return message.GetReflection()->GetString(message, field);
}

std::optional<uint32_t> NumberOf(const google::protobuf::Message& message, const char* name) {
  const google::protobuf::FieldDescriptor* const field = message.GetDescriptor()->FindFieldByName(name);
  if (field == nullptr || field->is_repeated() ||
      field->cpp_type() != google::protobuf::FieldDescriptor::CPPTYPE_UINT32) {
    return std::nullopt;
  }
  return message.GetReflection()->GetUInt32(message, field);
}

void Describe(const std::string& host_id, const google::protobuf::Message& message, telemetry::Span& span) {
  span.Set("host_id", host_id);
  if (const std::string remote = TextOf(message, "host_id"); !remote.empty()) span.Set("remote_host_id", remote);
  if (const std::string peer = TextOf(message, "peer_id"); !peer.empty()) span.Set("peer_id", peer);
  if (const std::string task = TextOf(message, "task_id"); !task.empty()) {
    span.Set("task_id", task);
    if (const auto piece = NumberOf(message, "piece_number")) span.Set("piece_id", StrCat(task, "-", *piece));
  }
  if (const auto* request = dynamic_cast<const dfdaemon::v2::DownloadTaskRequest*>(&message)) {
    span.Set("url", UrlToShow(request->download().url()));
    if (const auto task = TaskManager::IdOf(request->download()); task.ok()) span.Set("task_id", task->str());
  }
}

}  // namespace

rpc::DescribeCall DescribeCalls(std::string host_id) {
  return [host_id = std::move(host_id)](const google::protobuf::Message& message, telemetry::Span& span) {
    Describe(host_id, message, span);
  };
}

std::string UrlToShow(const std::string& url) {
  absl::StatusOr<Url> parsed = Url::Parse(url);
  if (!parsed.ok()) return "";
  parsed->username.clear();
  parsed->password.clear();
  parsed->has_query = parsed->has_fragment = false;
  parsed->query.clear();
  parsed->fragment.clear();
  return parsed->ToString();
}

}  // namespace dragonfly::daemon
