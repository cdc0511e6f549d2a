// SPDX-License-Identifier: Apache-2.0
// The identity of a span as it travels between programs: W3C Trace Context (https://www.w3.org/TR/trace-context/).
#pragma once

#include <array>
#include <cstdint>
#include <optional>
#include <string>
#include <string_view>

namespace dragonfly::telemetry {

// A value; all zero means none.
struct SpanContext {
  std::array<uint8_t, 16> trace_id{};
  std::array<uint8_t, 8> span_id{};
  bool sampled = false;
  std::string state;  // the tracestate header, handed on as it came

  bool valid() const;
  // "00-<32 hex digits>-<16 hex digits>-<flags>".
  std::string ToTraceparent() const;
};

// Longest tracestate that is handed on; a longer one is dropped, as the standard allows.
inline constexpr size_t kTraceStateMax = 512;

// nullopt for what the standard calls invalid (then a new trace begins); an invalid tracestate is dropped alone.
std::optional<SpanContext> ParseTraceparent(std::string_view traceparent, std::string_view tracestate);

}  // namespace dragonfly::telemetry
