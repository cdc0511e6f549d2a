// SPDX-License-Identifier: Apache-2.0
// The trace of a call, in its metadata: traceparent and tracestate of W3C Trace Context. Only .cc files include this.
#pragma once

#include <grpcpp/client_context.h>
#include <grpcpp/server_context.h>

#include "telemetry/span_context.h"

namespace dragonfly::rpc {

// Sends `trace` along with the call that `context` is of, before it starts; nothing when it is not valid.
void SendTrace(const telemetry::SpanContext& trace, grpc::ClientContext* context);

// What the caller sent; not valid() when that is nothing or nonsense.
telemetry::SpanContext TraceOf(const grpc::CallbackServerContext& context);

}  // namespace dragonfly::rpc
