// SPDX-License-Identifier: Apache-2.0
// A coroutine within a span of its own.
#pragma once

#include <boost/asio/awaitable.hpp>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include "absl/status/statusor.h"
#include "telemetry/trace.h"

namespace dragonfly::daemon {

namespace traced_internal {

inline const absl::Status& StatusOf(const absl::Status& result) { return result; }
template <typename T>
const absl::Status& StatusOf(const absl::StatusOr<T>& result) {
  return result.status();
}

template <typename Result>
boost::asio::awaitable<Result> Run(telemetry::Span span, boost::asio::awaitable<Result> work) {
  Result result = co_await std::move(work);
  span.SetStatus(StatusOf(result));
  co_return result;
}

}  // namespace traced_internal

// Runs `work`; the span ends with it and takes its status. Without tracing it is `work` itself, at no cost. Result:
// absl::Status or absl::StatusOr.
template <typename Result>
boost::asio::awaitable<Result> Traced(telemetry::Span span, boost::asio::awaitable<Result> work) {
  if (!span.recording()) return work;
  return traced_internal::Run(std::move(span), std::move(work));
}

// Sends the trace of `span` along with a request to an origin, as headers of W3C Trace Context; nothing is sent without
// tracing, and what the user sends goes first.
void SendTrace(const telemetry::Span& span, std::vector<std::pair<std::string, std::string>>& header);

// Names the piece that `span` is about.
inline void NamePiece(telemetry::Span& span, std::string_view task_id, uint32_t number) {
  if (span.recording()) span.Set("piece_id", std::string(task_id) + "-" + std::to_string(number));
}

// The span of a call that this daemon answers, with the fields that all of them have. `name`: a literal, the name of
// the function in the original.
inline telemetry::Span ServerSpan(const telemetry::SpanParent& caller, std::string_view name, std::string_view host_id,
                                  std::string_view task_id) {
  telemetry::Span span = caller.Start(name, telemetry::SpanKind::kServer);
  span.Set("host_id", host_id);
  if (!task_id.empty()) span.Set("task_id", task_id);
  return span;
}

}  // namespace dragonfly::daemon
