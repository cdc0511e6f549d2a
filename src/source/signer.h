// SPDX-License-Identifier: Apache-2.0
// What proves a caller to an HTTP origin: a signature over each request, or a token that is fetched and renewed.
#pragma once

#include <boost/asio/awaitable.hpp>
#include <string>
#include <string_view>

#include "absl/status/status.h"
#include "http/curl_client.h"

namespace dragonfly::source {

// Belongs to one set of credentials. HttpSource calls it for the origin that was asked and for redirects that stay with
// it (equal scheme, host and port), never for another: what it adds goes nowhere else. Thread rule: the source's.
class Signer {
 public:
  virtual ~Signer() = default;

  // Called just before each attempt. Method, URL and headers (Range among them) of `request` are final but for what is
  // added here. May wait for a token until request.deadline. Errors: final for the call, and name no secret.
  virtual boost::asio::awaitable<absl::Status> Sign(http::CurlRequest& request) = 0;

  // Equal texts mean equal rights: the key under which the target of a redirect is remembered. Never shown.
  virtual std::string Identity() const = 0;

  // The origin has refused a signed request with 400, 401 or 403. True when a request that is signed anew may succeed:
  // the token had run out, the clock or the region was wrong. Asked once a call of the source. `body`: the first
  // kRefusalBodyMax bytes of the answer's.
  virtual bool Renew(const http::CurlResponse& /*refusal*/, std::string_view /*body*/) { return false; }

  // What the body of a refusal says, to stand in the user's error after the status line; empty: nothing. Not longer
  // than a line and without secrets.
  virtual std::string Explain(std::string_view /*body*/) const { return ""; }
};

// How much of a refusal's body a signer sees.
inline constexpr size_t kRefusalBodyMax = 8 << 10;

}  // namespace dragonfly::source
