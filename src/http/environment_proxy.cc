// SPDX-License-Identifier: Apache-2.0
#include "http/environment_proxy.h"

#include <algorithm>
#include <boost/asio/ip/address.hpp>
#include <cstdlib>

#include "base/text.h"
#include "http/networks.h"

namespace dragonfly::http {
namespace {

// A CGI program gets HTTP_PROXY from its client's Proxy field.
bool MayRead(const std::string& name) { return name != "HTTP_PROXY" || std::getenv("REQUEST_METHOD") == nullptr; }

std::string ToUpperAscii(std::string text) {
  for (char& c : text) c = c >= 'a' && c <= 'z' ? static_cast<char>(c - 'a' + 'A') : c;
  return text;
}

// The first of the two spellings that is set; empty: neither.
std::string Variable(const std::string& lower) {
  for (const std::string& name : {lower, ToUpperAscii(lower)}) {
    const char* const value = MayRead(name) ? std::getenv(name.c_str()) : nullptr;
    if (value != nullptr && *value != '\0') return value;
  }
  return "";
}

std::string_view WithoutBrackets(std::string_view host) {
  return host.size() >= 2 && host.front() == '[' && host.back() == ']' ? host.substr(1, host.size() - 2) : host;
}

bool IsExcept(std::string_view token, std::string_view host) {
  boost::system::error_code no_address;
  const auto address = boost::asio::ip::make_address(std::string(host), no_address);
  if (!no_address) {
    const absl::StatusOr<Networks> networks = Networks::Parse({std::string(WithoutBrackets(token))});
    return networks.ok() && networks->Contains(address);
  }
  if (token.starts_with('.')) token.remove_prefix(1);
  if (token.ends_with('.')) token.remove_suffix(1);
  if (token.empty() || token.size() > host.size()) return false;
  const size_t before = host.size() - token.size();
  return EqualsIgnoreCase(host.substr(before), token) && (before == 0 || host[before - 1] == '.');
}

bool IsExcepted(std::string_view list, std::string_view host) {
  constexpr std::string_view kBetween = ", \t\n";
  if (TrimSpace(list) == "*") return true;
  while (!list.empty()) {
    const std::string_view token = list.substr(0, list.find_first_of(kBetween));
    if (!token.empty() && IsExcept(token, host)) return true;
    list.remove_prefix(std::min(list.size(), token.size() + 1));
  }
  return false;
}

}  // namespace

std::string ProxyOfEnvironment(std::string_view scheme, std::string_view host) {
  std::string proxy = Variable(StrCat(scheme, "_proxy"));
  if (proxy.empty()) proxy = Variable("all_proxy");
  if (proxy.empty()) return "";
  host = WithoutBrackets(host);
  if (host.ends_with('.')) host.remove_suffix(1);
  return IsExcepted(Variable("no_proxy"), host) ? "" : proxy;
}

}  // namespace dragonfly::http
