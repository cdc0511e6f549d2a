// SPDX-License-Identifier: Apache-2.0
// What an HTTP origin's answer says, read with suspicion.
#pragma once

#include <chrono>
#include <cstdint>
#include <map>
#include <optional>
#include <string>
#include <string_view>

#include "absl/status/status.h"
#include "absl/time/time.h"
#include "base/backend_error.h"
#include "base/byte_range.h"
#include "http/curl_client.h"
#include "source/source.h"

namespace dragonfly::source {

// A Content-Range header (RFC 9110 §14.4).
struct ContentRange {
  std::optional<ByteRange> range;  // nullopt: "*", the asked range cannot be satisfied
  std::optional<uint64_t> total;   // length of the whole object; nullopt: "*", not told
};

// "bytes 0-0/1234", "bytes 0-0/*", "bytes */1234". nullopt when it does not parse or contradicts itself.
std::optional<ContentRange> ParseContentRange(std::string_view value);

// The Content-Length header; nullopt when absent or no number.
std::optional<uint64_t> ContentLengthOf(const http::CurlResponse& response);

// Whether `etag` is a strong entity tag (RFC 9110 §8.8.3): equal ones mean equal bytes.
bool IsStrongEtag(std::string_view etag);

// Compares an answer with what was known of the object; `total` is the object's length by this answer. Strong entity
// tags decide; without them Last-Modified does; the length always. Errors: DATA_LOSS "object has changed ...".
absl::Status CheckVersion(const ObjectVersion& known, const http::CurlResponse& response,
                          std::optional<uint64_t> total);

// Fills what `known` leaves empty from an answer, so that the next one can be held against it.
void LearnVersion(const http::CurlResponse& response, std::optional<uint64_t> total, ObjectVersion& known);

// How many bytes of the answer's body belong to `asked`, which is all of it, if the answer fits: 206 with exactly that
// range, or another 2xx to a range from 0. Errors: FAILED_PRECONDITION for another range or a 2xx that ignores it;
// DATA_LOSS when the object has changed.
absl::Status CheckRangeAnswer(const http::CurlResponse& response, const ByteRange& asked, ObjectVersion& known);

// The headers that describe the object or the refusal: lower-case names, equal ones joined by ", ". Without those that
// carry secrets (Set-Cookie ...), belong to the connection (RFC 9110 §7.6.1), or have non-ASCII values.
std::map<std::string, std::string> DescribeHeader(const http::CurlResponse& response);

// The stat that a 2xx answer to a Range of the first `first_bytes` bytes, or to no Range, gives. nullopt for a 206 that
// does not tell the length or is of other bytes: then the origin is to be asked without Range.
std::optional<OriginStat> StatOf(const http::CurlResponse& response, uint64_t first_bytes = 1);

// Whether the same request may succeed later: 5xx, 408, 429.
bool IsTransient(int status);

// Retry-After (RFC 9110 §10.2.3), in seconds or as a date seen from `now`; not below 0.
std::optional<std::chrono::milliseconds> RetryAfter(const http::CurlResponse& response, absl::Time now);

// The origin's refusal as the error for the user; `why` stands after the status line. The headers are cut to what fits
// into the trailers of a gRPC call.
absl::Status RefusalOf(const http::CurlResponse& response, std::string_view why = "");

// The error for the user when no answer came.
absl::Status UnreachableOf(const absl::Status& transport);

}  // namespace dragonfly::source
