// SPDX-License-Identifier: Apache-2.0
#include "daemon/credential_header.h"

#include "absl/container/flat_hash_set.h"

namespace dragonfly::daemon {

bool MayBeCredential(std::string_view lower_name) {
  static const absl::flat_hash_set<std::string_view> kHarmless = {
      "accept",
      "accept-charset",
      "accept-encoding",
      "accept-language",
      "cache-control",
      "connection",
      "content-length",
      "dnt",
      "expect",
      "forwarded",
      "host",
      "if-match",
      "if-modified-since",
      "if-none-match",
      "if-range",
      "if-unmodified-since",
      "keep-alive",
      "origin",
      "pragma",
      "proxy-connection",
      "range",
      "referer",
      "te",
      "traceparent",
      "tracestate",
      "upgrade-insecure-requests",
      "user-agent",
      "via",
      "x-forwarded-for",
      "x-forwarded-host",
      "x-forwarded-proto",
      "x-request-id",
  };
  return !kHarmless.contains(lower_name) && !lower_name.starts_with("x-dragonfly-") && !lower_name.starts_with("sec-");
}

}  // namespace dragonfly::daemon
