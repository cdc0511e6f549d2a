// SPDX-License-Identifier: Apache-2.0
// HTTP/2 towards a client within an opened tunnel (RFC 9113), by nghttp2. Each of its streams becomes an HTTP/1.1
// request on a pair of sockets, so that it is handled exactly as every other.
//
//   client ══ TLS, HTTP/2 ══ nghttp2 ──┬── socket pair, HTTP/1.1 ── ServeRequests
//                                      └── ...                       one a stream
#pragma once

#include <boost/asio/awaitable.hpp>
#include <boost/asio/io_context.hpp>

#include "daemon/proxy/handler.h"
#include "daemon/proxy/stream.h"

namespace dragonfly::daemon::proxy {

// Serves the streams of one connection until it ends. `handler` answers their requests; both must outlive the call.
// Thread rule: the thread of `io`. At most 100 streams at a time; a body is read from the client only as fast as it is
// taken, and each direction of a stream holds at most 64 KiB and the buffers of its sockets.
boost::asio::awaitable<void> ServeHttp2(boost::asio::io_context& io, Handler& handler, TlsStream& stream);

}  // namespace dragonfly::daemon::proxy
