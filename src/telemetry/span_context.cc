// SPDX-License-Identifier: Apache-2.0
#include "telemetry/span_context.h"

#include <algorithm>
#include <span>

namespace dragonfly::telemetry {
namespace {

constexpr size_t kLength = 55;  // of version 00; later versions may say more behind it

// Lower case only, as the standard demands. False when `text` is anything else than `out.size()` bytes.
bool DecodeHex(std::string_view text, std::span<uint8_t> out) {
  const auto digit = [](char c) -> int {
    if (c >= '0' && c <= '9') return c - '0';
    if (c >= 'a' && c <= 'f') return c - 'a' + 10;
    return -1;
  };
  if (text.size() != 2 * out.size()) return false;
  for (size_t i = 0; i < out.size(); ++i) {
    const int high = digit(text[2 * i]);
    const int low = digit(text[2 * i + 1]);
    if (high < 0 || low < 0) return false;
    out[i] = static_cast<uint8_t>(high << 4 | low);
  }
  return true;
}

void AppendHex(std::string& out, std::span<const uint8_t> bytes) {
  constexpr char kDigits[] = "0123456789abcdef";
  for (const uint8_t byte : bytes) {
    out += kDigits[byte >> 4];
    out += kDigits[byte & 15];
  }
}

bool AnySet(std::span<const uint8_t> bytes) {
  return std::ranges::any_of(bytes, [](uint8_t byte) { return byte != 0; });
}

bool GoodState(std::string_view state) {
  return state.size() <= kTraceStateMax && std::ranges::all_of(state, [](char c) { return c >= ' ' && c <= '~'; });
}

}  // namespace

bool SpanContext::valid() const { return AnySet(trace_id) && AnySet(span_id); }

std::string SpanContext::ToTraceparent() const {
  std::string text;
  text.reserve(kLength);
  text += "00-";
  AppendHex(text, trace_id);
  text += '-';
  AppendHex(text, span_id);
  text += sampled ? "-01" : "-00";
  return text;
}

std::optional<SpanContext> ParseTraceparent(std::string_view traceparent, std::string_view tracestate) {
  if (traceparent.size() < kLength) return std::nullopt;
  std::array<uint8_t, 1> version{};
  std::array<uint8_t, 1> flags{};
  SpanContext context;
  const bool well_formed = DecodeHex(traceparent.substr(0, 2), version) && traceparent[2] == '-' &&
                           DecodeHex(traceparent.substr(3, 32), context.trace_id) && traceparent[35] == '-' &&
                           DecodeHex(traceparent.substr(36, 16), context.span_id) && traceparent[52] == '-' &&
                           DecodeHex(traceparent.substr(53, 2), flags);
  if (!well_formed || version[0] == 0xff || !context.valid()) return std::nullopt;
  if (traceparent.size() > kLength && (version[0] == 0 || traceparent[kLength] != '-')) return std::nullopt;
  context.sampled = (flags[0] & 1) != 0;
  if (GoodState(tracestate)) context.state = tracestate;
  return context;
}

}  // namespace dragonfly::telemetry
