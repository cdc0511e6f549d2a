// SPDX-License-Identifier: Apache-2.0
// A span for each gRPC call, made where calls pass, so that services and callers need not know of it. For the module's
// .cc files only.
#pragma once

#include <grpcpp/support/client_interceptor.h>
#include <grpcpp/support/server_interceptor.h>

#include <memory>

#include "rpc/server.h"
#include "telemetry/trace.h"

namespace dragonfly::rpc {

// The span is named after the method, in the form of a function's name (StatTask: stat_task), stands under what the
// caller sent, and takes the status of the call. The handler finds it by TraceOf() (rpc/trace_metadata.h). `describe`
// sees the first message. Calls of health and reflection have none.
std::unique_ptr<grpc::experimental::ServerInterceptorFactoryInterface> MakeServerTracing(telemetry::Tracer& tracer,
                                                                                         DescribeCall describe);

// The same for calls of a channel, under what SendTrace() was given.
std::unique_ptr<grpc::experimental::ClientInterceptorFactoryInterface> MakeClientTracing(telemetry::Tracer& tracer);

}  // namespace dragonfly::rpc
