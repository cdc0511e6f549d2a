// SPDX-License-Identifier: Apache-2.0
// proxy.rules: which URLs become downloads of this daemon, and how. Source: client v1.5.1, dragonfly-client-config/src/
// dfdaemon.rs and dragonfly-client/src/proxy/mod.rs; see docs/proxy.md.
#pragma once

#include <memory>
#include <string>
#include <vector>

#include "absl/status/statusor.h"
#include "base/url.h"
#include "daemon/config.h"
#include "daemon/proxy/target.h"

namespace dragonfly::daemon::proxy {

// Immutable, thread-safe.
class Rules {
 public:
  using Rule = DaemonConfig::Proxy::Rule;

  // Errors: INVALID_ARGUMENT naming the rule.
  static absl::StatusOr<std::unique_ptr<Rules>> Make(const std::vector<Rule>& rules);
  ~Rules();
  Rules(const Rules&) = delete;
  Rules& operator=(const Rules&) = delete;

  // The first rule whose expression is found in `url`: without query and fragment, or as a whole. Null: none. Linear in
  // the length of the URL.
  const Rule* Match(const Url& url) const;
  // False when no rule can match any "https://host:port/..." URL, so that a tunnel there need not be opened. Only rules
  // that are tied to the beginning of the URL can tell.
  bool MayMatch(const Authority& authority) const;

  // `url` as the rule wants it to be asked for: by TLS, at another authority. Errors: HttpError 500 for a redirect that
  // is no "host[:port]".
  static absl::StatusOr<Url> Apply(const Rule& rule, const Url& url);

 private:
  struct Compiled;
  Rules();
  std::vector<Compiled> rules_;
};

}  // namespace dragonfly::daemon::proxy
