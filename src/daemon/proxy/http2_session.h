// SPDX-License-Identifier: Apache-2.0
// HTTP/2 towards a client within an opened tunnel (RFC 9113), by nghttp2. Each of its streams becomes an HTTP/1.1
// request on a pair of sockets, so that it is handled exactly as every other.
//
//   client ══ TLS, HTTP/2 ══ nghttp2 ──┬── socket pair, HTTP/1.1 ── Http2Requests
//                                      └── ...                       one a stream
#pragma once

#include <boost/asio/awaitable.hpp>
#include <boost/asio/io_context.hpp>
#include <functional>

#include "daemon/proxy/stream.h"

namespace dragonfly::daemon::proxy {

// Answers the one HTTP/1.1 request that comes from the stream, which outlives the call.
using Http2Requests = std::function<boost::asio::awaitable<void>(Stream& stream)>;

// Serves the streams of one connection until it ends. `requests` and `stream` must outlive the call. A client that
// breaks the rules is told so by GOAWAY, or by RST_STREAM where one stream is concerned.
// Thread rule: the thread of `io`. At most 100 streams at a time; a body is read from the client only as fast as it is
// taken, and each direction of a stream holds at most 64 KiB and the buffers of its sockets.
boost::asio::awaitable<void> ServeHttp2(boost::asio::io_context& io, const Http2Requests& requests, Stream& stream);

}  // namespace dragonfly::daemon::proxy
