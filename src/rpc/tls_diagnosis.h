// SPDX-License-Identifier: Apache-2.0
// Why a TLS connection cannot be made. gRPC only says that a handshake failed.
#pragma once

#include <string>

#include "absl/status/status.h"
#include "rpc/server.h"
#include "runtime/clock.h"

namespace dragonfly::rpc {

// Makes a connection to `address` ("10.0.0.1:8002", "[::1]:8002", "name:8002") as a client with `files` would, and says
// what is in the way: that nobody listens, that one side speaks TLS and the other does not, which check of the server's
// certificate fails, that the server refuses ours. OK when all is well. Blocks up to `timeout`; for the moment after a
// call has failed. Errors: those of the files; UNAVAILABLE, without the address.
absl::Status DiagnoseTls(const std::string& address, const TlsFiles& files, Clock::duration timeout);

}  // namespace dragonfly::rpc
