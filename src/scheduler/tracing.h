// SPDX-License-Identifier: Apache-2.0
// The scheduler's traces. See docs/telemetry.md.
#pragma once

#include <memory>
#include <string>

#include "absl/status/statusor.h"
#include "scheduler/config.h"
#include "telemetry/trace.h"

namespace google::protobuf {
class Message;
}

namespace dragonfly::scheduler {

// Null when nothing is to be exported. Resource attributes: dragonfly v2.3.0, cmd/dependency/dependency.go. Errors:
// INVALID_ARGUMENT naming the key.
absl::StatusOr<std::unique_ptr<telemetry::Tracer>> MakeTracer(const SchedulerConfig& config,
                                                              const std::string& hostname, const std::string& ip);

// Tells a span of the call that `message` begins: host_id, task_id, peer_id.
void DescribeCall(const google::protobuf::Message& message, telemetry::Span& span);

}  // namespace dragonfly::scheduler
