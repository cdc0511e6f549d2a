// SPDX-License-Identifier: Apache-2.0
// Heads of HTTP/1.x messages (RFC 9112): read strictly, since whoever reads one differently than the next server opens
// the door to request smuggling.
#pragma once

#include <cstddef>
#include <cstdint>
#include <optional>
#include <string>
#include <string_view>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "daemon/proxy/fields.h"

namespace dragonfly::daemon::proxy {

// Bytes of one head: request or status line and all fields.
inline constexpr size_t kHeadMax = 64 << 10;
inline constexpr size_t kFieldsMax = 256;

// How long the body is that follows a head.
struct BodyFraming {
  enum class Kind { kNone, kLength, kChunked, kUntilClose };
  Kind kind = Kind::kNone;
  uint64_t length = 0;  // of kLength, bytes
};

struct RequestHead {
  std::string method;
  std::string target;  // as it stands in the request line
  int version = 11;    // 10 or 11
  Fields fields;
  BodyFraming body;
  bool keep_alive = true;
};

struct ResponseHead {
  int version = 11;
  int status = 0;
  std::string reason;
  Fields fields;
  BodyFraming body;
  bool keep_alive = true;
};

// Where the head that `bytes` begins with ends, the empty line included; nullopt while it is not all there. Errors:
// HttpError 431 when it is longer than kHeadMax.
absl::StatusOr<std::optional<size_t>> FindHeadEnd(std::string_view bytes);

// Reads a whole head. Refused with HttpError 400: bare line breaks, line folding, blanks around names, bytes that no
// field may have, several Host or none in HTTP/1.1, Content-Length twice or beside Transfer-Encoding or not a decimal
// number, Connection naming a field that frames the message, HTTP/1.0 with Transfer-Encoding; 431: too many fields;
// 501: another transfer coding than chunked; 505: another version.
absl::StatusOr<RequestHead> ParseRequestHead(std::string_view head);

// The same for an answer to a request of `method`. Errors: HttpError 502.
absl::StatusOr<ResponseHead> ParseResponseHead(std::string_view head, std::string_view method);

// The head as it goes out over HTTP/1.1.
std::string Serialise(const RequestHead& head);
std::string Serialise(const ResponseHead& head);

}  // namespace dragonfly::daemon::proxy
