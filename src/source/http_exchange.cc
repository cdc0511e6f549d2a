// SPDX-License-Identifier: Apache-2.0
#include "source/http_exchange.h"

#include <optional>
#include <utility>

#include "base/backend_error.h"
#include "base/status.h"
#include "base/text.h"
#include "source/http_answer.h"
#include "source/origin_header.h"
#include "source/signer.h"

namespace dragonfly::source {

namespace asio = boost::asio;

namespace {

constexpr size_t kRedirectsRemembered = 1000;

bool IsRedirect(int status) {
  return status == 301 || status == 302 || status == 303 || status == 307 || status == 308;
}

// A target that was good once may have become bad: its signature has run out, its object has moved.
bool MayBeStale(const absl::StatusOr<http::CurlResponse>& answer) {
  if (!answer.ok()) return absl::IsUnavailable(answer.status());
  return answer->status == 401 || answer->status == 403 || answer->status == 404 || answer->status == 410;
}

bool MayBeMisSigned(const http::CurlResponse& answer) {
  return answer.status == 400 || answer.status == 401 || answer.status == 403;
}

bool ForbidsCaching(const http::CurlResponse& response) {
  const std::string control = ToLowerAscii(response.Find("cache-control").value_or(""));
  return control.find("no-store") != control.npos || control.find("no-cache") != control.npos ||
         control.find("max-age=0") != control.npos;
}

bool SameOrigin(const Url& a, const Url& b) {
  return a.scheme == b.scheme && a.host == b.host && a.effective_port() == b.effective_port();
}

}  // namespace

bool IsHttp(const Url& url) { return url.scheme == "http" || url.scheme == "https"; }

absl::Status UnusableAnswer(const http::CurlResponse& response, std::string_view why) {
  BackendError error;
  error.message = StrCat(response.status_text, ": ", why);
  error.status_code = response.status;
  return MakeBackendErrorStatus(error);
}

HttpExchange::HttpExchange(asio::io_context& io, const SourceOptions& options)
    : options_(options),
      client_(io),
      guarded_client_(io, options.forbidden),
      redirects_(kRedirectsRemembered, options.redirect_cache_ttl) {}

asio::awaitable<absl::StatusOr<http::CurlResponse>> HttpExchange::Follow(Target& target, std::string range,
                                                                         TimePoint deadline, bool& may_remember,
                                                                         HttpAnswer& answer) {
  for (int hop = 0;; ++hop) {
    http::CurlRequest request;
    request.method = target.method;
    request.url = target.url;
    request.header = target.header;
    if (!range.empty()) request.header.emplace_back("Range", range);
    request.deadline = deadline;
    request.connect_timeout = options_.connect_timeout;
    request.stall_timeout = options_.stall_timeout;
    request.verify_tls = target.verify_tls;
    request.ca_file = options_.ca_file;
    request.authorities = target.authorities;
    if (target.signer != nullptr) DF_CO_RETURN_IF_ERROR(co_await target.signer->Sign(request));
    absl::StatusOr<http::CurlResponse> response =
        co_await (target.guarded ? guarded_client_ : client_).Run(std::move(request), answer);
    if (!response.ok() && answer.ended()) response = answer.response();
    if (!response.ok() || !IsRedirect(response->status) || response->location.empty()) co_return response;

    if (hop >= options_.redirects_max) {
      co_return UnusableAnswer(*response, StrCat("more than ", options_.redirects_max, " redirects"));
    }
    const absl::StatusOr<Url> from = Url::Parse(target.url);
    absl::StatusOr<Url> to = Url::Parse(response->location);
    if (!from.ok() || !to.ok() || !IsHttp(*to)) co_return UnusableAnswer(*response, "its Location cannot be followed");
    to->has_fragment = false;
    to->fragment.clear();
    if (!SameOrigin(*from, *to)) {
      DropCredentials(target.header);
      target.signer = nullptr;
    }
    if (ForbidsCaching(*response)) may_remember = false;
    target.url = to->ToString();
  }
}

asio::awaitable<absl::StatusOr<http::CurlResponse>> HttpExchange::Run(Target asked, std::string range,
                                                                      TimePoint deadline, Redirects redirects,
                                                                      Renewal& renewal, HttpAnswer& answer) {
  bool may_remember = true;
  if (redirects == Redirects::kRemembered) {
    std::optional<Target> known = redirects_.Find(asked, Clock::now());
    if (known.has_value()) {
      known->guarded = asked.guarded;
      known->verify_tls = asked.verify_tls;
      absl::StatusOr<http::CurlResponse> response = co_await Follow(*known, range, deadline, may_remember, answer);
      if (!MayBeStale(response) || !answer.verdict().ok()) co_return response;
      redirects_.Erase(asked);
      // A body that broke off half-way is the caller's to resume; a refusal has cost nothing and the way is asked anew.
      if (!response.ok()) co_return response;
    }
  }
  may_remember = true;
  Target target = asked;
  absl::StatusOr<http::CurlResponse> response = co_await Follow(target, range, deadline, may_remember, answer);
  if (response.ok() && !renewal.used && target.signer != nullptr && MayBeMisSigned(*response)) {
    renewal.used = true;
    if (target.signer->Renew(*response, answer.refusal())) {
      may_remember = true;
      target = asked;
      response = co_await Follow(target, range, deadline, may_remember, answer);
    }
  }
  if (response.ok() && IsSuccess(response->status) && may_remember && target.url != asked.url) {
    redirects_.Put(asked, std::move(target), Clock::now());
  }
  co_return response;
}

}  // namespace dragonfly::source
