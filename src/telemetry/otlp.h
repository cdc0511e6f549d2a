// SPDX-License-Identifier: Apache-2.0
// Spans in OTLP's form.
#pragma once

#include <memory>
#include <span>
#include <string>

#include "telemetry/trace.h"

namespace dragonfly::telemetry {

// An ExportTraceServiceRequest with `spans`, serialised.
std::string EncodeSpans(const std::string& scope, const Attributes& resource,
                        std::span<const std::unique_ptr<SpanData>> spans);

// What a collector says of a request that it took in part; empty when it took all.
struct PartialSuccess {
  int64_t rejected_spans = 0;
  std::string message;
};
// Of an ExportTraceServiceResponse; bytes that do not parse count as full success.
PartialSuccess DecodeResponse(const std::string& response);

}  // namespace dragonfly::telemetry
