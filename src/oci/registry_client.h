// SPDX-License-Identifier: Apache-2.0
// Asks a registry what an image is made of: OCI distribution specification 1.1, with the tokens of Docker's registries
// (https://distribution.github.io/distribution/spec/auth/token/).
#pragma once

#include <boost/asio/awaitable.hpp>
#include <string>
#include <utility>
#include <vector>

#include "absl/status/statusor.h"
#include "http/curl_client.h"
#include "oci/image_url.h"
#include "oci/manifest.h"
#include "runtime/clock.h"

namespace dragonfly::oci {

struct ImageRequest {
  ImageRequest() = default;
  ImageUrl image;
  Platform platform = Platform::Own();
  // Sent to the registry. One with an Authorization is used as it stands; nobody else sees it.
  std::vector<std::pair<std::string, std::string>> header;
  std::string username, password;  // for a challenge; empty: as nobody
  bool verify_tls = true;
  std::string ca_file;  // PEM, beside the system's
  TimePoint deadline = kNoDeadline;
};

struct ResolvedImage {
  std::vector<Descriptor> blobs;  // configuration and layers, each once
  std::string authorization;      // with which the registry gives the blobs; empty: none is needed
};

// Thread rule: on the thread of the client.
class RegistryClient {
 public:
  // `http` must outlive it.
  explicit RegistryClient(http::CurlClient& http) : http_(http) {}

  // Fetches the manifest, those that a list names for the platform, and checks every digest. Redirects are followed,
  // without the credentials when they lead to another host. Errors: INVALID_ARGUMENT (no manifest, or no one for the
  // platform), PERMISSION_DENIED or UNAUTHENTICATED (the registry refuses), NOT_FOUND, DATA_LOSS (a wrong digest),
  // those of CurlClient::Run(). Messages name no credentials.
  boost::asio::awaitable<absl::StatusOr<ResolvedImage>> Resolve(ImageRequest request);

 private:
  struct Answer;
  boost::asio::awaitable<absl::StatusOr<Answer>> Get(const ImageRequest& request, std::string url,
                                                     std::vector<std::pair<std::string, std::string>> header,
                                                     bool redirects);
  boost::asio::awaitable<absl::StatusOr<std::string>> Authorize(const ImageRequest& request,
                                                                const std::string& challenge);
  boost::asio::awaitable<absl::StatusOr<std::string>> FetchManifest(const ImageRequest& request, std::string reference,
                                                                    std::string* authorization);

  http::CurlClient& http_;
};

}  // namespace dragonfly::oci
