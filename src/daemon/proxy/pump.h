// SPDX-License-Identifier: Apache-2.0
// What goes through a tunnel that nobody looks into.
#pragma once

#include <boost/asio/awaitable.hpp>

#include "absl/status/status.h"
#include "daemon/proxy/stream.h"

namespace dragonfly::daemon::proxy {

// Passes the bytes of each side to the other until both have ended; the end of one side is passed on, so that the other
// may go on talking. The patience of the streams is with the tunnel as a whole: a side may be silent for as long as
// something moves the other way. Errors: DEADLINE_EXCEEDED when nothing has moved for that long; UNAVAILABLE when a
// side broke. Both connections are cut then. Thread rule: the thread of both.
boost::asio::awaitable<absl::Status> PumpBothWays(Stream& a, Stream& b);

}  // namespace dragonfly::daemon::proxy
