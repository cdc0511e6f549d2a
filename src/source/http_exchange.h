// SPDX-License-Identifier: Apache-2.0
// One request to an HTTP origin, with what lies between it and its final answer: redirects, signatures.
#pragma once

#include <boost/asio/awaitable.hpp>
#include <boost/asio/io_context.hpp>
#include <string>
#include <string_view>

#include "absl/status/statusor.h"
#include "base/url.h"
#include "http/curl_client.h"
#include "source/redirect_cache.h"
#include "source/source.h"

namespace dragonfly::source {

class HttpAnswer;

// Thread rule: all methods on the thread of the io_context.
class HttpExchange {
 public:
  HttpExchange(boost::asio::io_context& io, const SourceOptions& options);

  enum class Redirects { kAsk, kRemembered };
  // Of one call of the source: a signature is renewed once.
  struct Renewal {
    bool used = false;
  };

  // To the final answer, whatever its status. Errors: those of CurlClient::Run(); INTERNAL with a BackendError for a
  // redirect that cannot be followed.
  boost::asio::awaitable<absl::StatusOr<http::CurlResponse>> Run(Target asked, std::string range, TimePoint deadline,
                                                                 Redirects redirects, Renewal& renewal,
                                                                 HttpAnswer& answer);

  // As SourceSet::CloseIdle().
  void CloseIdle() {
    client_.CloseIdle();
    guarded_client_.CloseIdle();
  }

 private:
  boost::asio::awaitable<absl::StatusOr<http::CurlResponse>> Follow(Target& target, std::string range,
                                                                    TimePoint deadline, bool& may_remember,
                                                                    HttpAnswer& answer);

  const SourceOptions options_;
  http::CurlClient client_;
  http::CurlClient guarded_client_;
  RedirectCache redirects_;
};

// http or https.
bool IsHttp(const Url& url);

// INTERNAL with a BackendError: an answer of which nothing can be made.
absl::Status UnusableAnswer(const http::CurlResponse& response, std::string_view why);

}  // namespace dragonfly::source
