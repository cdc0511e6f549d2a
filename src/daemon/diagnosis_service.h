// SPDX-License-Identifier: Apache-2.0
// dragonfly.ext.v1.Diagnosis: why a download was slow, for programs on this host.
#pragma once

#include <memory>

#include "daemon/config.h"
#include "daemon/service.h"
#include "daemon/task_history.h"

namespace dragonfly::daemon {

// Answers from memory, on gRPC's threads. Both must outlive the service.
std::unique_ptr<Service> MakeDiagnosisService(const TaskHistory& history, const DaemonConfig& config);

}  // namespace dragonfly::daemon
