// SPDX-License-Identifier: Apache-2.0
#include "daemon/tracing.h"

#include <google/protobuf/message.h>

#include <optional>
#include <utility>

#include "base/status.h"
#include "base/text.h"
#include "base/url.h"
#include "daemon/task_manager.h"
#include "daemon/traced.h"
#include "dfdaemon/v2/dfdaemon.pb.h"
#include "tracing/tracer.h"

namespace dragonfly::daemon {
absl::StatusOr<std::unique_ptr<telemetry::Tracer>> MakeTracer(const DaemonConfig& config,
                                                              const HostIdentity& identity) {
  const DaemonConfig::Tracing& from = config.tracing;
  tracing::ExportOptions exported;
  exported.protocol = from.protocol;
  exported.endpoint = from.endpoint;
  exported.path = from.path;
  exported.headers = from.headers;
  telemetry::TracerOptions options;
  options.name = "dfdaemon";
  options.resource = {{"service.name", StrCat("dfdaemon-", identity.ip)},
                      {"service.namespace", "dragonfly"},
                      {"host.name", identity.hostname},
                      {"host.ip", identity.ip},
                      {"host.idc", config.host.idc},
                      {"host.location", config.host.location},
                      {"host.seed_peer", identity.seed}};
  return tracing::MakeTracer(exported, std::move(options));
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

// Declared in daemon/traced.h.
void SendTrace(const telemetry::Span& span, std::vector<std::pair<std::string, std::string>>& header) {
  if (!span.recording()) return;
  for (const auto& [name, value] : header) {
    if (EqualsIgnoreCase(name, "traceparent")) return;
  }
  header.emplace_back("traceparent", span.context().ToTraceparent());
  if (!span.context().state.empty()) header.emplace_back("tracestate", span.context().state);
}

}  // namespace dragonfly::daemon
