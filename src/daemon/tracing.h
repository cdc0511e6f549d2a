// SPDX-License-Identifier: Apache-2.0
// The export of this daemon's traces, as dfdaemon.yaml and the environment say. Source: client v1.0.0,
// dragonfly-client/src/tracing/mod.rs; see docs/telemetry.md.
#pragma once

#include <memory>
#include <string>

#include "absl/status/statusor.h"
#include "daemon/config.h"
#include "daemon/host_identity.h"
#include "rpc/server.h"
#include "telemetry/trace.h"

namespace dragonfly::daemon {

// Null when nothing is to be exported. Does not connect yet. Errors: INVALID_ARGUMENT naming the key.
absl::StatusOr<std::unique_ptr<telemetry::Tracer>> MakeTracer(const DaemonConfig& config, const HostIdentity& identity);

// What the spans of the calls that this daemon answers tell: host_id, remote_host_id, task_id, peer_id, piece_id, url.
rpc::DescribeCall DescribeCalls(std::string host_id);

// `url` without user, password, query and fragment: what a log or a span may show. What does not parse is left out.
std::string UrlToShow(const std::string& url);

}  // namespace dragonfly::daemon
