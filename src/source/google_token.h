// SPDX-License-Identifier: Apache-2.0
// Access tokens for Google Cloud Storage, got with the key of a service account.
#pragma once

#include <boost/asio/awaitable.hpp>
#include <boost/asio/io_context.hpp>
#include <boost/asio/steady_timer.hpp>
#include <functional>
#include <list>
#include <string>

#include "absl/status/statusor.h"
#include "absl/time/time.h"
#include "http/curl_client.h"
#include "source/source.h"

namespace dragonfly::source {

// One key file and its token, which is fetched once for all who wait and kept until shortly before it runs out. The
// file is read again for each token, so that a key can be replaced. It is the JSON of a service account ("type":
// "service_account": a signed assertion is exchanged, RFC 7523) or of a user's login ("authorized_user": a refresh
// token is, RFC 6749 §6), as GOOGLE_APPLICATION_CREDENTIALS names it. Thread rule: that of the io_context.
class GoogleToken {
 public:
  // `client` and `options` must outlive it. `now`: the wall clock.
  GoogleToken(boost::asio::io_context& io, http::CurlClient& client, const SourceOptions& options, std::string path,
              std::function<absl::Time()> now);

  // A token, renewed two minutes before it runs out. Errors: INVALID_ARGUMENT when the file cannot be read or is no
  // key; INTERNAL with a BackendError when the token service refuses; UNAVAILABLE; DEADLINE_EXCEEDED.
  boost::asio::awaitable<absl::StatusOr<std::string>> Get(TimePoint deadline);

  // The service has refused the token: the next Get() fetches another. False when there is none, or it is so new that
  // another would be refused as well.
  bool Forget();

 private:
  class Fetching;
  boost::asio::awaitable<absl::StatusOr<std::string>> Fetch(TimePoint deadline);

  boost::asio::io_context& io_;
  http::CurlClient& client_;
  const SourceOptions& options_;
  const std::string path_;
  const std::function<absl::Time()> now_;
  std::string token_;
  absl::Time fetched_at_ = absl::InfinitePast();
  absl::Time expires_at_ = absl::InfinitePast();
  bool fetching_ = false;
  std::list<boost::asio::steady_timer> waiting_;
};

// The signed assertion (JWT, RFC 7519, RS256) of a service account for its token service. `private_key`: PEM. Errors:
// INVALID_ARGUMENT when that is no RSA key.
absl::StatusOr<std::string> MakeGoogleAssertion(const std::string& email, const std::string& private_key,
                                                const std::string& private_key_id, const std::string& audience,
                                                absl::Time now);

}  // namespace dragonfly::source
