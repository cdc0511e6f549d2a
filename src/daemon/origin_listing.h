// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <boost/asio/awaitable.hpp>

#include "absl/status/statusor.h"
#include "daemon/task_manager.h"
#include "source/source.h"

namespace dragonfly::daemon {

// What TaskManager::ListOrigin() tells, on the thread of `sources`, which must outlive the call.
boost::asio::awaitable<absl::StatusOr<OriginListing>> ListOrigin(source::SourceSet& sources,
                                                                 source::OriginRequest request);

}  // namespace dragonfly::daemon
