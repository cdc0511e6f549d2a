// SPDX-License-Identifier: Apache-2.0
#include "manager/web_client.h"

#include <chrono>
#include <span>

#include "base/status.h"
#include "base/text.h"
#include "base/url.h"
#include "http/curl_client.h"
#include "runtime/clock.h"
#include "runtime/run_on.h"

namespace dragonfly::manager {
namespace {

namespace asio = boost::asio;

constexpr std::chrono::seconds kTimeout{10};

bool IsOfThisMachine(std::string_view host) { return host == "localhost" || host == "127.0.0.1" || host == "[::1]"; }

std::string WithoutQuery(const std::string& url) { return url.substr(0, url.find_first_of("?#")); }

class Body : public http::CurlSink {
 public:
  absl::Status OnHeader(const http::CurlResponse&) override { return absl::OkStatus(); }
  absl::Status OnBody(std::span<const std::byte> bytes) override {
    if (text.size() + bytes.size() > WebClient::kAnswerMax) {
      return absl::ResourceExhaustedError(StrCat("the answer is longer than ", WebClient::kAnswerMax, " bytes"));
    }
    text.append(reinterpret_cast<const char*>(bytes.data()), bytes.size());
    return absl::OkStatus();
  }
  Clock::duration PauseFor(size_t) override { return Clock::duration::zero(); }

  std::string text;
};

}  // namespace

absl::Status CheckProviderUrl(const std::string& what, const std::string& url) {
  const auto parsed = Url::Parse(url);
  if (!parsed.ok() || parsed->host.empty()) return absl::InvalidArgumentError(StrCat(what, ": is no URL"));
  if (!parsed->username.empty() || !parsed->password.empty()) {
    return absl::InvalidArgumentError(StrCat(what, ": must not have a user and password"));
  }
  if (parsed->scheme == "https" || (parsed->scheme == "http" && IsOfThisMachine(parsed->host))) return absl::OkStatus();
  return absl::InvalidArgumentError(StrCat(what, ": must be a URL of https"));
}

WebClient::WebClient(asio::io_context& io) : io_(io), client_(std::make_unique<http::CurlClient>(io)) {}
WebClient::~WebClient() = default;

asio::awaitable<absl::StatusOr<std::string>> WebClient::Call(WebRequest request) {
  if (running_ >= kCallsMax) co_return absl::ResourceExhaustedError("too many sign-ins at once, try again");
  const std::string what = StrCat(request.method, " ", WithoutQuery(request.url));
  http::CurlRequest call;
  call.method = std::move(request.method);
  call.url = std::move(request.url);
  call.header = std::move(request.header);
  call.body = std::move(request.body);
  call.deadline = Clock::now() + kTimeout;
  // Also when the call is cancelled.
  struct Running {
    explicit Running(int& counter) : count(counter) { ++count; }
    ~Running() { --count; }
    int& count;
  };
  const Running counted(running_);
  Body body;
  const auto response = co_await client_->Run(std::move(call), body);
  if (!response.ok()) co_return response.status();
  if (response->status >= 400 && response->status <= 499) {
    co_return absl::PermissionDeniedError(StrCat(what, ": ", response->status_text));
  }
  if (response->status < 200 || response->status > 299) {
    co_return absl::UnavailableError(StrCat(what, ": ", response->status_text));
  }
  co_return std::move(body.text);
}

asio::awaitable<absl::StatusOr<std::string>> WebClient::Fetch(WebRequest request) {
  DF_CO_RETURN_IF_ERROR(CheckProviderUrl(WithoutQuery(request.url), request.url));
  co_return co_await runtime::RunOn<absl::StatusOr<std::string>>(io_.get_executor(), Call(std::move(request)));
}

}  // namespace dragonfly::manager
