// SPDX-License-Identifier: Apache-2.0
// Sign-in by GitHub, by Google, and by any issuer of OpenID Connect: authorization code with PKCE (RFC 6749, RFC 7636,
// OpenID Connect Core 1.0 and Discovery 1.0).
#pragma once

#include <boost/asio/awaitable.hpp>
#include <string>
#include <string_view>

#include "absl/status/statusor.h"
#include "absl/time/time.h"
#include "manager/id_token.h"
#include "manager/web_client.h"

namespace dragonfly::manager {

// A row of the table oauth.
struct SignInProvider {
  std::string name;  // "github", "google", or any other of OpenID Connect
  std::string client_id, client_secret;
  std::string redirect_url;  // where the provider sends the browser back to: .../api/v1/users/signin/<name>/callback
  // Of OpenID Connect; for github the address of a GitHub Enterprise Server. Empty: the public one.
  std::string issuer;

  // What the subjects belong to: another issuer under the same name has other people.
  std::string Realm() const;
};

// What ties the answer of a provider to the browser that was sent there. All of it follows from `ticket`, which the
// browser keeps in a cookie, and a key of ours: nothing is stored here, and any manager may take the answer.
struct SignInSecrets {
  std::string state, nonce, verifier;
  // "<unix seconds of its end>.<random>".
  static std::string NewTicket(absl::Time now);
  // Errors: UNAUTHENTICATED for what is no ticket, or one whose time is over.
  static absl::StatusOr<SignInSecrets> Of(const std::string& ticket, std::string_view provider, std::string_view key,
                                          absl::Time now);
};

inline constexpr absl::Duration kSignInTime = absl::Minutes(10);

// Whether the row can be used. Errors: INVALID_ARGUMENT with the field.
absl::Status CheckProvider(const SignInProvider& provider);

// Where the browser goes to. Asks the issuer for its addresses. Errors: those of WebClient::Fetch; INVALID_ARGUMENT for
// answers that are none.
boost::asio::awaitable<absl::StatusOr<std::string>> AuthorizationUrl(WebClient& web, SignInProvider provider,
                                                                     SignInSecrets secrets);

// Exchanges `code` and tells who has signed in. Errors: as above; UNAUTHENTICATED for a token that does not hold.
boost::asio::awaitable<absl::StatusOr<Identity>> FetchIdentity(WebClient& web, SignInProvider provider,
                                                               SignInSecrets secrets, std::string code);

}  // namespace dragonfly::manager
