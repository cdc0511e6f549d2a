// SPDX-License-Identifier: Apache-2.0
// Signers (signer.h) for the object storages.
#pragma once

#include <functional>
#include <memory>
#include <string>
#include <string_view>

#include "absl/time/time.h"
#include "source/google_token.h"
#include "source/object_location.h"
#include "source/signer.h"

namespace dragonfly::source {

using WallClock = std::function<absl::Time()>;

// Signs requests to the bucket of `place` with its key, or not at all when it has none. Corrects itself by what a
// refusal tells: the service's clock when ours is off, the region of the bucket.
class KeySigner : public Signer {
 public:
  KeySigner(const ObjectPlace& place, WallClock now);

  boost::asio::awaitable<absl::Status> Sign(http::CurlRequest& request) override;
  std::string Identity() const override;
  bool Renew(const http::CurlResponse& refusal, std::string_view body) override;
  std::string Explain(std::string_view body) const override;

 private:
  const ObjectPlace place_;
  const WallClock now_;
  std::string region_;
  absl::Duration skew_;  // the service's clock less ours
  DerivedKey derived_;
};

// Sends the access token of a Google key file.
class GoogleSigner : public Signer {
 public:
  // `token` may be shared with signers of other buckets; null: requests carry no token.
  GoogleSigner(const ObjectPlace& place, std::shared_ptr<GoogleToken> token);

  boost::asio::awaitable<absl::Status> Sign(http::CurlRequest& request) override;
  std::string Identity() const override;
  bool Renew(const http::CurlResponse& refusal, std::string_view body) override;
  std::string Explain(std::string_view body) const override;

 private:
  const ObjectPlace place_;
  const std::shared_ptr<GoogleToken> token_;
};

// All that the rights of a request to `place` depend on, hashed.
std::string IdentityOf(const ObjectPlace& place);

}  // namespace dragonfly::source
