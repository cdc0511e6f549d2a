// SPDX-License-Identifier: Apache-2.0
// dfdaemon.v2.DfdaemonDownload: what programs on this host ask for, over the Unix socket.
#pragma once

#include <memory>

#include "daemon/call_gate.h"
#include "daemon/service.h"
#include "daemon/task_manager.h"

namespace dragonfly::daemon {

class PersistentTasks;

// All must outlive the service.
// `persistent`: null, and persistent cache tasks are not served.
std::unique_ptr<Service> MakeDownloadService(TaskManager& tasks, runtime::IoThreads& io, CallGate& gate,
                                             PersistentTasks* persistent = nullptr);

}  // namespace dragonfly::daemon
