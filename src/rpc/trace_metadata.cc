// SPDX-License-Identifier: Apache-2.0
#include "rpc/trace_metadata.h"

#include <string_view>

namespace dragonfly::rpc {
namespace {

constexpr char kTraceparent[] = "traceparent";
constexpr char kTracestate[] = "tracestate";

std::string_view Value(const grpc::CallbackServerContext& context, const char* name) {
  const auto& metadata = context.client_metadata();
  const auto found = metadata.find(name);
  return found == metadata.end() ? std::string_view() : std::string_view(found->second.data(), found->second.size());
}

}  // namespace

void SendTrace(const telemetry::SpanContext& trace, grpc::ClientContext* context) {
  if (!trace.valid()) return;
  context->AddMetadata(kTraceparent, trace.ToTraceparent());
  if (!trace.state.empty()) context->AddMetadata(kTracestate, trace.state);
}

telemetry::SpanContext TraceOf(const grpc::CallbackServerContext& context) {
  const std::string_view traceparent = Value(context, kTraceparent);
  if (traceparent.empty()) return {};
  return telemetry::ParseTraceparent(traceparent, Value(context, kTracestate)).value_or(telemetry::SpanContext());
}

}  // namespace dragonfly::rpc
