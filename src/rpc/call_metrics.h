// SPDX-License-Identifier: Apache-2.0
// Counters of gRPC calls, made where calls pass, so that services and callers need not know of them. For the module's
// .cc files only.
//
//   grpc_server_started_total, grpc_server_msg_received_total, grpc_server_msg_sent_total
//                               {grpc_type, grpc_service, grpc_method}
//   grpc_server_handled_total   the same and {grpc_code}
//   grpc_client_...             of the calls that this program makes
//
// Names and labels: go-grpc-prometheus v1.2.0, server_metrics.go and client_metrics.go, of which dashboards know them.
#pragma once

#include <grpcpp/support/client_interceptor.h>
#include <grpcpp/support/server_interceptor.h>

#include <memory>

#include "telemetry/metrics.h"

namespace dragonfly::rpc {

// `metrics` must outlive what is made.
std::unique_ptr<grpc::experimental::ServerInterceptorFactoryInterface> MakeServerCallMetrics(
    telemetry::Metrics& metrics);
std::unique_ptr<grpc::experimental::ClientInterceptorFactoryInterface> MakeClientCallMetrics(
    telemetry::Metrics& metrics);

}  // namespace dragonfly::rpc
