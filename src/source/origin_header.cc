// SPDX-License-Identifier: Apache-2.0
#include "source/origin_header.h"

#include <algorithm>
#include <array>
#include <string_view>

#include "absl/strings/ascii.h"
#include "base/text.h"

namespace dragonfly::source {
namespace {

constexpr std::array<std::string_view, 12> kNotForwarded = {
    "range",   "if-range",          "connection", "keep-alive",     "proxy-connection", "te",
    "trailer", "transfer-encoding", "upgrade",    "content-length", "content-type",     "expect"};
constexpr std::array<std::string_view, 6> kCredentials = {"authorization",       "cookie",           "cookie2",
                                                          "proxy-authorization", "www-authenticate", "host"};

template <size_t N>
bool Contains(const std::array<std::string_view, N>& names, std::string_view name) {
  return std::any_of(names.begin(), names.end(), [name](std::string_view one) { return EqualsIgnoreCase(one, name); });
}

bool Contains(const HeaderFields& header, std::string_view name) {
  return std::any_of(header.begin(), header.end(),
                     [name](const auto& field) { return EqualsIgnoreCase(field.first, name); });
}

// RFC 9110 §5.6.2.
bool IsToken(std::string_view text) {
  return !text.empty() && std::all_of(text.begin(), text.end(), [](char c) {
    return absl::ascii_isalnum(static_cast<unsigned char>(c)) ||
           std::string_view("!#$%&'*+-.^_`|~").find(c) != std::string_view::npos;
  });
}

}  // namespace

absl::StatusOr<HeaderFields> MakeOriginHeader(const HeaderFields& caller,
                                              const std::map<std::string, std::string>& defaults,
                                              const std::string& user_agent) {
  HeaderFields header;
  for (const auto& [name, value] : caller) {
    if (!IsToken(name)) return absl::InvalidArgumentError(StrCat("not a header name: ", Quoted(name)));
    if (value.find_first_of(std::string_view("\r\n\0", 3)) != value.npos) {
      return absl::InvalidArgumentError(StrCat("header ", name, ": line break in its value"));
    }
    if (!Contains(kNotForwarded, name)) header.emplace_back(name, value);
  }
  for (const auto& [name, value] : defaults) {
    if (!Contains(header, name)) header.emplace_back(name, value);
  }
  if (!Contains(header, "user-agent")) header.emplace_back("User-Agent", user_agent);
  return header;
}

void DropCredentials(HeaderFields& header) {
  std::erase_if(header, [](const auto& field) { return Contains(kCredentials, field.first); });
}

}  // namespace dragonfly::source
