// SPDX-License-Identifier: Apache-2.0
// Tells the scheduler of a complete copy that nobody downloads: after a restart it has forgotten who has what, and
// would go on sending hosts to the origin.
#pragma once

#include <boost/asio/awaitable.hpp>
#include <memory>

#include "base/ids.h"
#include "daemon/task_manager.h"

namespace dragonfly::daemon {

// Registers this host's copy of `id` with the task's scheduler (Download.metadata_only, API 2.2.32; an older scheduler
// takes it for any peer that is done). Does nothing when the copy is not complete. Failures are logged. `parts` must
// outlive it; on the task's lane.
boost::asio::awaitable<void> AnnounceCopy(const TaskManagerParts& parts, TaskId id,
                                          std::shared_ptr<const common::v2::Download> wire);

}  // namespace dragonfly::daemon
