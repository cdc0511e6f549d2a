// SPDX-License-Identifier: Apache-2.0
// ID tokens of OpenID Connect: JWS in its compact form (RFC 7515), keys as a JWK set (RFC 7517). What is checked:
// OpenID Connect Core 1.0, 3.1.3.7.
#pragma once

#include <string>
#include <string_view>

#include "absl/status/statusor.h"
#include "absl/time/time.h"

namespace dragonfly::manager {

struct IdTokenRules {
  std::string issuer;
  std::string client_id;
  std::string nonce;
  absl::Time now;
};

// Who has signed in.
struct Identity {
  std::string subject;  // the provider's name for them, which never changes
  std::string name;
  std::string email;  // empty unless the provider has verified it
  std::string avatar;
};

// The signature by one of `keys` (RS256, RS384, RS512, ES256, ES384), then the claims. Errors: UNAUTHENTICATED with
// what is wrong, without the token.
absl::StatusOr<Identity> ReadIdToken(std::string_view token, const std::string& keys, const IdTokenRules& rules);

}  // namespace dragonfly::manager
