// SPDX-License-Identifier: Apache-2.0
#include "scheduler/tracing.h"

#include <google/protobuf/message.h>

#include <utility>

#include "base/text.h"
#include "base/version.h"
#include "tracing/tracer.h"

namespace dragonfly::scheduler {

absl::StatusOr<std::unique_ptr<telemetry::Tracer>> MakeTracer(const SchedulerConfig& config,
                                                              const std::string& hostname, const std::string& ip) {
  tracing::ExportOptions exported;
  exported.protocol = config.tracing.protocol;
  exported.endpoint = config.tracing.endpoint;
  exported.path = config.tracing.path;
  exported.headers = config.tracing.headers;
  telemetry::TracerOptions options;
  options.name = "scheduler";
  options.resource = {{"service.name", config.tracing.service_name},
                      {"service.namespace", "dragonfly"},
                      {"service.version", StrCat("v", kVersion)},
                      {"host.name", hostname},
                      {"host.ip", ip}};
  return tracing::MakeTracer(exported, std::move(options));
}

void DescribeCall(const google::protobuf::Message& message, telemetry::Span& span) {
  for (const char* const name : {"host_id", "task_id", "peer_id"}) {
    const google::protobuf::FieldDescriptor* const field = message.GetDescriptor()->FindFieldByName(name);
    if (field == nullptr || field->is_repeated() ||
        field->cpp_type() != google::protobuf::FieldDescriptor::CPPTYPE_STRING) {
      continue;
    }
    std::string text = message.GetReflection()->GetString(message, field);
    if (!text.empty()) span.Set(name, text);
  }
}

}  // namespace dragonfly::scheduler
