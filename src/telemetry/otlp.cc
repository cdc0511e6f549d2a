// SPDX-License-Identifier: Apache-2.0
#include "telemetry/otlp.h"

#include <algorithm>

#include "base/status.h"
#include "base/text.h"
#include "base/version.h"
#include "opentelemetry/proto/collector/trace/v1/trace_service.pb.h"

namespace dragonfly::telemetry {
namespace {

namespace wire = opentelemetry::proto;

// proto3 strings must be UTF-8: a field that is not would make the collector refuse the whole batch.
std::string Utf8(std::string_view text) {
  std::string out;
  out.reserve(text.size());
  for (size_t i = 0; i < text.size();) {
    const auto byte = static_cast<unsigned char>(text[i]);
    size_t length = byte < 0x80                   ? 1
                    : byte >= 0xc2 && byte < 0xe0 ? 2
                    : byte >= 0xe0 && byte < 0xf0 ? 3
                    : byte >= 0xf0 && byte < 0xf5 ? 4
                                                  : 0;
    bool good = length > 0 && i + length <= text.size();
    for (size_t k = 1; good && k < length; ++k) good = (static_cast<unsigned char>(text[i + k]) & 0xc0) == 0x80;
    if (good && length > 2) {
      const auto second = static_cast<unsigned char>(text[i + 1]);
      good = !(byte == 0xe0 && second < 0xa0) && !(byte == 0xed && second >= 0xa0) &&
             !(byte == 0xf0 && second < 0x90) && !(byte == 0xf4 && second >= 0x90);
    }
    if (good) {
      out.append(text.substr(i, length));
    } else {
      out += "\xef\xbf\xbd";  // the replacement character
      length = 1;
    }
    i += length;
  }
  return out;
}

template <size_t kSize>
std::string Bytes(const std::array<uint8_t, kSize>& id) {
  return std::string(reinterpret_cast<const char*>(id.data()), id.size());
}

uint64_t UnixNano(std::chrono::system_clock::time_point time) {
  const auto count = std::chrono::duration_cast<std::chrono::nanoseconds>(time.time_since_epoch()).count();
  return static_cast<uint64_t>(std::max<int64_t>(count, 0));
}

void SetKeyValue(std::string_view name, const AttributeValue& value, wire::common::v1::KeyValue* out) {
  out->set_key(Utf8(name));
  if (const auto* text = std::get_if<std::string>(&value)) {
    out->mutable_value()->set_string_value(Utf8(*text));
  } else if (const auto* flag = std::get_if<bool>(&value)) {
    out->mutable_value()->set_bool_value(*flag);
  } else {
    out->mutable_value()->set_int_value(std::get<int64_t>(value));
  }
}

void SetSpan(const SpanData& span, wire::trace::v1::Span* out) {
  out->set_trace_id(Bytes(span.context.trace_id));
  out->set_span_id(Bytes(span.context.span_id));
  out->set_trace_state(span.context.state);
  constexpr std::array<uint8_t, 8> kNone{};
  if (span.parent_id != kNone) out->set_parent_span_id(Bytes(span.parent_id));
  out->set_flags(span.context.sampled ? 1 : 0);
  out->set_name(Utf8(span.name));
  out->set_kind(static_cast<wire::trace::v1::Span::SpanKind>(span.kind));
  const uint64_t begin = UnixNano(span.begin);
  out->set_start_time_unix_nano(begin);
  out->set_end_time_unix_nano(begin + static_cast<uint64_t>(span.duration.count()));
  for (const auto& [name, value] : span.attributes) SetKeyValue(name, value, out->add_attributes());
  for (const SpanEvent& event : span.events) {
    wire::trace::v1::Span::Event* const message = out->add_events();
    message->set_time_unix_nano(UnixNano(event.time));
    message->set_name(Utf8(event.name));
  }
  for (const SpanContext& other : span.links) {
    wire::trace::v1::Span::Link* const link = out->add_links();
    link->set_trace_id(Bytes(other.trace_id));
    link->set_span_id(Bytes(other.span_id));
    link->set_trace_state(other.state);
  }
  if (!span.status.ok()) {
    out->mutable_status()->set_code(wire::trace::v1::Status::STATUS_CODE_ERROR);
    out->mutable_status()->set_message(Utf8(MessageOf(span.status).substr(0, Span::kTextMax)));
  }
}

}  // namespace

std::string EncodeSpans(const std::string& scope, const Attributes& resource,
                        std::span<const std::unique_ptr<SpanData>> spans) {
  wire::collector::trace::v1::ExportTraceServiceRequest request;
  wire::trace::v1::ResourceSpans* const of_resource = request.add_resource_spans();
  for (const auto& [name, value] : resource) {
    SetKeyValue(name, value, of_resource->mutable_resource()->add_attributes());
  }
  wire::trace::v1::ScopeSpans* const of_scope = of_resource->add_scope_spans();
  of_scope->mutable_scope()->set_name(scope);
  of_scope->mutable_scope()->set_version(std::string(kVersion));
  for (const std::unique_ptr<SpanData>& span : spans) SetSpan(*span, of_scope->add_spans());
  return request.SerializeAsString();
}

PartialSuccess DecodeResponse(const std::string& response) {
  wire::collector::trace::v1::ExportTraceServiceResponse message;
  PartialSuccess partial;
  if (!message.ParseFromString(response)) return partial;
  partial.rejected_spans = message.partial_success().rejected_spans();
  partial.message = message.partial_success().error_message();
  return partial;
}

}  // namespace dragonfly::telemetry
