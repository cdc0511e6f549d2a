// SPDX-License-Identifier: Apache-2.0
#include "manager/rest_call.h"

#include <algorithm>
#include <nlohmann/json.hpp>
#include <utility>

#include "absl/strings/ascii.h"
#include "base/status.h"
#include "base/text.h"

namespace dragonfly::manager {
namespace {

using nlohmann::json;

constexpr size_t kLinksMax = 4096;
constexpr int64_t kPerPageMax = 10'000'000;

std::string Dump(const json& value) { return value.dump(-1, ' ', false, json::error_handler_t::replace); }

// Go's url.QueryEscape.
std::string Escaped(std::string_view text) {
  static constexpr char kDigits[] = "0123456789ABCDEF";
  std::string escaped;
  for (const char c : text) {
    const auto byte = static_cast<unsigned char>(c);
    if (absl::ascii_isalnum(byte) || c == '-' || c == '_' || c == '.' || c == '~') {
      escaped += c;
    } else if (c == ' ') {
      escaped += '+';
    } else {
      escaped += {'%', kDigits[byte >> 4], kDigits[byte & 15]};
    }
  }
  return escaped;
}

absl::StatusOr<int64_t> NumberIn(const RestCall& call, const std::string& name, int64_t otherwise, int64_t most) {
  const auto found = call.query.find(name);
  if (found == call.query.end() || found->second.empty() || found->second == "0") return otherwise;
  const auto number = ParseDecimal<int64_t>(found->second);
  if (!number.has_value() || *number < 1 || *number > most) {
    return absl::InvalidArgumentError(StrCat(name, ": ", Quoted(found->second), " is no number from 1 to ", most));
  }
  return *number;
}

}  // namespace

absl::StatusOr<int64_t> RestCall::Id(const std::string& name) const {
  const auto number = ParseDecimal<int64_t>(params.at(name));
  if (number.has_value() && *number > 0) return *number;
  return absl::InvalidArgumentError(StrCat(name, ": ", Quoted(params.at(name)), " is no number above 0"));
}

http::Response JsonResponse(std::string body) {
  http::Response response;
  response.content_type = "application/json; charset=utf-8";
  response.body = std::move(body);
  return response;
}

http::Response RedirectResponse(std::string location) {
  http::Response response;
  response.status = 302;
  response.header.emplace_back("Location", std::move(location));
  return response;
}

std::string CookieIn(std::string_view header, std::string_view name) {
  while (!header.empty()) {
    const size_t end = header.find(';');
    const std::string_view pair = TrimSpace(header.substr(0, end));
    const size_t equals = pair.find('=');
    if (equals != std::string_view::npos && pair.substr(0, equals) == name) return std::string(pair.substr(equals + 1));
    header.remove_prefix(end == std::string_view::npos ? header.size() : end + 1);
  }
  return "";
}

http::Response EmptyResponse() { return http::Response(); }

http::Response MessageResponse(int status, std::string_view message) {
  http::Response response = JsonResponse(Dump(json{{"message", std::string(message)}}));
  response.status = status;
  return response;
}

http::Response ErrorResponse(const absl::Status& status) {
  const std::string text(MessageOf(status));
  switch (status.code()) {
    case absl::StatusCode::kInvalidArgument:
    case absl::StatusCode::kOutOfRange: {
      http::Response response = JsonResponse(Dump(json{{"errors", text}}));
      response.status = 422;
      return response;
    }
    case absl::StatusCode::kNotFound:
      return MessageResponse(404, text);
    case absl::StatusCode::kAlreadyExists:
      return MessageResponse(409, "Conflict");
    case absl::StatusCode::kFailedPrecondition:
      return MessageResponse(409, text);
    case absl::StatusCode::kUnauthenticated:
    case absl::StatusCode::kPermissionDenied:
      return MessageResponse(401, text);
    case absl::StatusCode::kResourceExhausted:
      return MessageResponse(429, text);
    case absl::StatusCode::kUnimplemented:
      return MessageResponse(501, text);
    case absl::StatusCode::kUnavailable:
    case absl::StatusCode::kDeadlineExceeded:
    case absl::StatusCode::kAborted:
      return MessageResponse(503, "Service Unavailable");
    default:
      return MessageResponse(500, "Internal Server Error");
  }
}

absl::StatusOr<Page> PageOf(const RestCall& call) {
  Page page;
  DF_ASSIGN_OR_RETURN(page.page, NumberIn(call, "page", 1, int64_t{1} << 31));
  DF_ASSIGN_OR_RETURN(page.per_page, NumberIn(call, "per_page", 10, kPerPageMax));
  return page;
}

void AddLinks(const RestCall& call, const Page& page, int64_t total, http::Response& response) {
  const int64_t last = (total + page.per_page - 1) / page.per_page;
  const auto url = [&](int64_t number) {
    std::map<std::string, std::string> query = call.query;
    query["page"] = std::to_string(number);
    query["per_page"] = std::to_string(page.per_page);
    std::string text = call.path;
    char separator = '?';
    for (const auto& [name, value] : query) {
      text += StrCat(std::string(1, separator), Escaped(name), "=", Escaped(value));
      separator = '&';
    }
    return text;
  };
  const int64_t next = page.page == last ? page.page : page.page + 1;
  std::string links = StrCat("<", url(std::max<int64_t>(1, page.page - 1)), ">;rel=prev,<", url(next), ">;rel=next,<",
                             url(1), ">;rel=first,<", url(last), ">;rel=last");
  // A header that repeats long filters four times would be more than clients and proxies take.
  if (links.size() <= kLinksMax) response.header.emplace_back("Link", std::move(links));
  response.header.emplace_back("X-Total-Count", std::to_string(total));
}

}  // namespace dragonfly::manager
