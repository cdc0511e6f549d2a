// SPDX-License-Identifier: Apache-2.0
// What the proxy itself says to a client.
#pragma once

#include <boost/asio/awaitable.hpp>
#include <string>
#include <string_view>

#include "absl/status/status.h"
#include "daemon/proxy/message.h"
#include "daemon/proxy/message_reader.h"
#include "daemon/proxy/stream.h"

namespace dragonfly::daemon::proxy {

// One request as its answer needs to know it. Everything outlives the request.
struct ClientTurn {
  ClientTurn(Stream& s, MessageReader& r) : stream(s), reader(r) {}
  Stream& stream;
  MessageReader& reader;
  int version = 11;
  bool head_only = false;  // HEAD
  bool keep_alive = true;  // false: the connection ends with this answer
  int status = 0;          // of the answer that has begun; 0: none has
  bool broken = false;     // the answer ended before its end
};

// Whose fault an error is: the value of X-Dragonfly-Error-Type.
enum class ErrorType { kBackend, kProxy, kDfdaemon };

struct Reply {
  int status = 200;
  Fields fields;
  std::string body;  // a sentence for people; text/plain
};

// "<message>\n" with its status, and X-Dragonfly-Error-Type.
Reply ErrorReply(ErrorType type, int status, std::string_view message);

// Writes status line and fields: what keeps or ends the connection is added.
boost::asio::awaitable<absl::Status> SendHead(ClientTurn& turn, ResponseHead head, bool more);
// Sends a whole answer.
boost::asio::awaitable<absl::Status> SendReply(ClientTurn& turn, Reply reply);

// The time as HTTP writes it (RFC 9110 §5.6.7).
std::string HttpDate();

}  // namespace dragonfly::daemon::proxy
