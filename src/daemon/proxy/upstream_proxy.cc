// SPDX-License-Identifier: Apache-2.0
#include "daemon/proxy/upstream_proxy.h"

#include <boost/asio/ip/address.hpp>
#include <utility>

#include "absl/strings/escaping.h"
#include "base/text.h"
#include "daemon/proxy/http_error.h"
#include "http/environment_proxy.h"

namespace dragonfly::daemon::proxy {
namespace {

bool IsOwn(const Url& proxy, const OwnAddress& own) {
  if (proxy.effective_port() != own.port) return false;
  std::string host = proxy.host;
  if (host.starts_with('[') && host.ends_with(']')) host = host.substr(1, host.size() - 2);
  boost::system::error_code no_address;
  const auto address = boost::asio::ip::make_address(host, no_address);
  if (!no_address && (address.is_loopback() || address.is_unspecified())) return true;
  if (EqualsIgnoreCase(host, "localhost")) return true;
  for (const std::string& name : own.hosts) {
    if (!name.empty() && EqualsIgnoreCase(host, name)) return true;
  }
  return false;
}

}  // namespace

absl::StatusOr<std::optional<UpstreamProxy>> UpstreamProxyOf(const Url& origin, const OwnAddress& own) {
  std::string text = http::ProxyOfEnvironment(origin.scheme, origin.host);
  if (text.empty()) return std::nullopt;
  if (text.find("://") == std::string::npos) text = StrCat("http://", text);
  absl::StatusOr<Url> url = Url::Parse(text);
  // The text may have a password in it.
  if (!url.ok() || url->host.empty() || (url->scheme != "http" && url->scheme != "https")) {
    return HttpError(502,
                     StrCat("the proxy that the environment names for ", origin.scheme, " is none of http or https"));
  }
  if (IsOwn(*url, own)) return std::nullopt;
  std::optional<UpstreamProxy> proxy;
  proxy.emplace();
  if (!url->username.empty() || !url->password.empty()) {
    const std::string pair = StrCat(PercentDecode(url->username), ":", PercentDecode(url->password));
    proxy->authorization = StrCat("Basic ", std::string(absl::Base64Escape(pair)));
  }
  proxy->url = *std::move(url);
  return proxy;
}

}  // namespace dragonfly::daemon::proxy
