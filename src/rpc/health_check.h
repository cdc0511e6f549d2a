// SPDX-License-Identifier: Apache-2.0
// Asks a server by grpc.health.v1.Health/Check whether it serves.
#pragma once

#include <boost/asio/awaitable.hpp>
#include <memory>
#include <string_view>

#include "absl/status/status.h"
#include "runtime/clock.h"

namespace grpc {
class Channel;
}

namespace dragonfly::rpc {

// Asks for `service` (fewer than 128 bytes); "" is the server as a whole. `timeout` bounds the whole, connecting
// included; a channel whose last attempt to connect has failed tries anew at once, and waits at most half a second for
// it. Errors: UNAVAILABLE "not serving" when the server says so; those of the call.
boost::asio::awaitable<absl::Status> CheckHealth(std::shared_ptr<grpc::Channel> channel, Clock::duration timeout,
                                                 std::string_view service = "");

}  // namespace dragonfly::rpc
