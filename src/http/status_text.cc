// SPDX-License-Identifier: Apache-2.0
#include "http/status_text.h"

#include <algorithm>
#include <boost/beast/http/status.hpp>

#include "absl/strings/ascii.h"
#include "base/text.h"

namespace dragonfly::http {

namespace beast_http = boost::beast::http;

std::string StatusText(int status, std::string_view reason) {
  const beast_http::status known =
      status > 0 ? beast_http::int_to_status(static_cast<unsigned>(status)) : beast_http::status::unknown;
  if (known != beast_http::status::unknown) {
    const auto text = beast_http::obsolete_reason(known);
    return StrCat(status, " ", std::string_view(text.data(), text.size()));
  }
  const bool printable = std::all_of(reason.begin(), reason.end(),
                                     [](char c) { return absl::ascii_isprint(static_cast<unsigned char>(c)); });
  if (reason.empty() || !printable) return StrCat(status);
  return StrCat(status, " ", reason);
}

}  // namespace dragonfly::http
