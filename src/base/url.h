// SPDX-License-Identifier: Apache-2.0
// URLs by the WHATWG URL standard (https://url.spec.whatwg.org), as far as task ids and origins need it.
#pragma once

#include <cstdint>
#include <span>
#include <string>
#include <string_view>

#include "absl/status/statusor.h"

namespace dragonfly {

// The parts of an absolute URL, each serialised as the standard says (percent-encoded, host and scheme lower-cased for
// special schemes, default port dropped, dot segments resolved).
struct Url {
  std::string scheme;  // without ':'
  std::string username;
  std::string password;
  bool has_host = false;
  std::string host;  // IPv6 in brackets
  int port = -1;     // -1: none, or the scheme's default
  std::string path;  // begins with '/' for special schemes
  bool has_query = false;
  std::string query;  // without '?'
  bool has_fragment = false;
  std::string fragment;  // without '#'

  // Errors: INVALID_ARGUMENT naming the URL (shortened, without credentials and query) and the reason; among them text
  // that is not UTF-8 or longer than 64 KiB.
  static absl::StatusOr<Url> Parse(std::string_view text);
  std::string ToString() const;
  // True for http, https, ws, wss, ftp, file.
  bool special() const;
  // The port in use: `port`, else the scheme's default, else -1.
  int effective_port() const;
};

// The text that enters a task id: the query pairs whose decoded key is in `filtered_query_params` are dropped, the
// others are written as application/x-www-form-urlencoded in their order; a bare "/" path loses its slash. Canonical
// text is its own canonical form. Errors: as Url::Parse.
absl::StatusOr<std::string> CanonicalUrl(std::string_view url, std::span<const std::string> filtered_query_params);

// The query parameters that sign a request and do not name content: dfget's and the proxy rules' default filter.
std::span<const std::string> DefaultFilteredQueryParams();

// Decodes %XX; other bytes stay as they are.
std::string PercentDecode(std::string_view text);

}  // namespace dragonfly
