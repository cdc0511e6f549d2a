// SPDX-License-Identifier: Apache-2.0
// proxy.server.basicAuth: who may use the proxy (RFC 7617).
#pragma once

#include <optional>
#include <string>

#include "absl/status/status.h"
#include "daemon/config.h"
#include "daemon/proxy/message.h"

namespace dragonfly::daemon::proxy {

// Immutable, thread-safe.
class BasicAuth {
 public:
  // nullopt: everybody may.
  explicit BasicAuth(const std::optional<DaemonConfig::BasicAuth>& pair);

  bool required() const { return !expected_.empty(); }

  // Takes the credentials for the proxy out of `request` and checks them. Requests to a proxy (`mirror` false) have
  // them in Proxy-Authorization or, as the original wants it, in Authorization; those to a mirror in Authorization.
  // An Authorization that is not for the proxy stays. Takes the same time whatever is wrong. Errors: HttpError 407 (401
  // of a mirror); 400 for credentials that cannot be read.
  absl::Status Check(RequestHead& request, bool mirror) const;

  // The field that an answer with `http_status` 401 or 407 must have; an empty name for others.
  static Fields::Entry Challenge(int http_status);

 private:
  bool Matches(std::string_view credentials) const;

  std::string expected_;  // SHA-256 of "user:password"; empty: not required
};

}  // namespace dragonfly::daemon::proxy
