// SPDX-License-Identifier: Apache-2.0
// The form of a URL that enters a task id. Source: client v1.0.0, dragonfly-client-util/src/id_generator/mod.rs.
#include <algorithm>
#include <array>
#include <utility>
#include <vector>

#include "absl/strings/ascii.h"
#include "base/status.h"
#include "base/url.h"
#include "base/url_internal.h"

namespace dragonfly {
namespace {

// A name or value of application/x-www-form-urlencoded (WHATWG URL standard §5.1).
std::string DecodeFormPart(std::string_view text) {
  std::string plain(text);
  std::ranges::replace(plain, '+', ' ');
  return url_internal::ToValidUtf8(PercentDecode(plain));
}

void AppendFormPart(std::string& out, std::string_view text) {
  for (const char c : text) {
    if (absl::ascii_isalnum(static_cast<unsigned char>(c)) || c == '*' || c == '-' || c == '.' || c == '_') {
      out += c;
    } else if (c == ' ') {
      out += '+';
    } else {
      url_internal::AppendPercentEncoded(out, c);
    }
  }
}

// The pairs of `query` whose name is not in `filtered`, written anew. Empty when none is left.
std::string FilterQuery(std::string_view query, std::span<const std::string> filtered) {
  std::string out;
  bool first = true;
  while (!query.empty()) {
    const std::string_view pair = query.substr(0, query.find('&'));
    query.remove_prefix(std::min(pair.size() + 1, query.size()));
    if (pair.empty()) continue;
    const size_t equals = pair.find('=');
    const std::string name = DecodeFormPart(pair.substr(0, equals));
    if (std::ranges::find(filtered, name) != filtered.end()) continue;
    const std::string value =
        equals == std::string_view::npos ? std::string() : DecodeFormPart(pair.substr(equals + 1));
    if (!first) out += '&';
    first = false;
    AppendFormPart(out, name);
    out += '=';
    AppendFormPart(out, value);
  }
  return out;
}

}  // namespace

absl::StatusOr<std::string> CanonicalUrl(std::string_view url, std::span<const std::string> filtered_query_params) {
  DF_ASSIGN_OR_RETURN(Url parsed, Url::Parse(url));
  parsed.query = FilterQuery(parsed.query, filtered_query_params);
  parsed.has_query = !parsed.query.empty();
  // Blanks that ended an opaque path before its query would be cut off as blanks at the end of the URL next time.
  if (!parsed.has_host && !parsed.has_query && !parsed.has_fragment) {
    parsed.path.erase(parsed.path.find_last_not_of(' ') + 1);
  }
  std::string text = parsed.ToString();
  if (parsed.path == "/") text.erase(text.find_last_not_of('/') + 1);
  return text;
}

std::span<const std::string> DefaultFilteredQueryParams() {
  static const auto* const kParams = new std::array<std::string, 30>{
      // AWS
      "X-Amz-Algorithm", "X-Amz-Credential", "X-Amz-Date", "X-Amz-Expires", "X-Amz-SignedHeaders", "X-Amz-Signature",
      "X-Amz-Security-Token", "X-Amz-User-Agent",
      // Google Cloud
      "X-Goog-Algorithm", "X-Goog-Credential", "X-Goog-Date", "X-Goog-Expires", "X-Goog-SignedHeaders",
      "X-Goog-Signature",
      // Alibaba Cloud
      "OSSAccessKeyId", "Expires", "Signature", "SecurityToken",
      // Huawei Cloud
      "AccessKeyId", "X-Obs-Date", "X-Obs-Security-Token",
      // Tencent Cloud
      "q-sign-algorithm", "q-ak", "q-sign-time", "q-key-time", "q-header-list", "q-url-param-list", "q-signature",
      "x-cos-security-token",
      // containerd's registry mirror
      "ns"};
  return *kParams;
}

}  // namespace dragonfly
