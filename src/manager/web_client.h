// SPDX-License-Identifier: Apache-2.0
// Calls to providers of sign-in: small answers, read whole.
#pragma once

#include <boost/asio/awaitable.hpp>
#include <boost/asio/io_context.hpp>
#include <memory>
#include <string>
#include <utility>
#include <vector>

#include "absl/status/status.h"
#include "absl/status/statusor.h"

namespace dragonfly::http {
class CurlClient;
}

namespace dragonfly::manager {

struct WebRequest {
  WebRequest() = default;
  std::string method = "GET";
  std::string url;
  std::vector<std::pair<std::string, std::string>> header;
  std::string body;
};

// OK for https with a host, and for http with a host of this machine (which is how a test or a proxy beside us is
// called). Else INVALID_ARGUMENT naming `what`. Credentials of the manager never go out in the clear.
absl::Status CheckProviderUrl(const std::string& what, const std::string& url);

// Any thread. Certificates are verified, redirects are not followed.
class WebClient {
 public:
  static constexpr size_t kAnswerMax = 256 << 10;  // bytes of a body
  static constexpr int kCallsMax = 32;             // at once

  // `io` must outlive it.
  explicit WebClient(boost::asio::io_context& io);
  ~WebClient();
  WebClient(const WebClient&) = delete;
  WebClient& operator=(const WebClient&) = delete;

  // The body of an answer with a status of 2xx. Errors: INVALID_ARGUMENT for a URL that CheckProviderUrl() refuses;
  // RESOURCE_EXHAUSTED above kCallsMax or kAnswerMax; PERMISSION_DENIED for 4xx; UNAVAILABLE for another status and for
  // what keeps an answer from coming within 10 seconds. Messages name the URL without its query.
  boost::asio::awaitable<absl::StatusOr<std::string>> Fetch(WebRequest request);

 private:
  // On the thread of io_.
  boost::asio::awaitable<absl::StatusOr<std::string>> Call(WebRequest request);

  boost::asio::io_context& io_;
  std::unique_ptr<http::CurlClient> client_;
  int running_ = 0;  // of the thread of io_
};

}  // namespace dragonfly::manager
