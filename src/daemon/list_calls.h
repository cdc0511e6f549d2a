// SPDX-License-Identifier: Apache-2.0
// ListTaskEntries, which both gRPC services answer alike. Only .cc files include this.
#pragma once

#include <boost/asio/awaitable.hpp>

#include "absl/status/status.h"
#include "daemon/task_manager.h"
#include "dfdaemon/v2/dfdaemon.pb.h"

namespace dragonfly::daemon {

// Asks the origin for all that is below the directory request.url names, within the request's timeout, at most
// download.pieceTimeout. Of a URL that names a file: its length and headers. Both must live as long as the call.
// `local`: asked over the Unix socket.
// Errors: those of TaskManager::ListOrigin(), with the URL's scheme and host.
boost::asio::awaitable<absl::Status> ListTaskEntries(TaskManager& tasks,
                                                     const dfdaemon::v2::ListTaskEntriesRequest& request, bool local,
                                                     dfdaemon::v2::ListTaskEntriesResponse* response);

}  // namespace dragonfly::daemon
