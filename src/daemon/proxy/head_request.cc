// SPDX-License-Identifier: Apache-2.0
// HEAD requests of what a rule matches.
#include <array>
#include <optional>
#include <utility>

#include "absl/strings/ascii.h"
#include "base/text.h"
#include "daemon/proxy/handler.h"

namespace dragonfly::daemon::proxy {

namespace asio = boost::asio;

namespace {

constexpr int kRedirectsMax = 10;

bool IsRedirect(int status) {
  return status == 301 || status == 302 || status == 303 || status == 307 || status == 308;
}

bool SameOrigin(const Url& a, const Url& b) {
  return a.scheme == b.scheme && a.host == b.host && a.effective_port() == b.effective_port();
}

// Where the answer to a request for `url` leads to; nullopt when it leads nowhere that a proxy follows.
std::optional<Url> LocationOf(const Url& url, const ResponseHead& head) {
  const std::optional<std::string_view> location = head.fields.Find("location");
  if (!IsRedirect(head.status) || !location || location->empty()) return std::nullopt;
  const std::string origin = StrCat(url.scheme, "://", url.host, url.port < 0 ? "" : StrCat(":", url.port));
  const size_t end = location->find_first_of(":/?#");  // of a scheme, or of the first segment of a path
  std::string absolute;
  if (end != std::string_view::npos && (*location)[end] == ':') {
    absolute = *location;
  } else if (location->starts_with("//")) {
    absolute = StrCat(url.scheme, ":", *location);
  } else if (location->starts_with('/')) {
    absolute = StrCat(origin, *location);
  } else if (location->starts_with('?')) {
    absolute = StrCat(origin, url.path, *location);
  } else {
    absolute = StrCat(origin, url.path.substr(0, url.path.rfind('/') + 1), *location);
  }
  absl::StatusOr<Url> next = Url::Parse(absolute);
  if (!next.ok() || next->host.empty() || (next->scheme != "http" && next->scheme != "https")) return std::nullopt;
  next->has_fragment = false;
  next->fragment.clear();
  return *std::move(next);
}

// Names of fields that are about the answer that has them, not about the file.
bool IsOfOneAnswer(std::string_view name) {
  constexpr std::array kNames = {"accept-ranges", "age",        "cache-control",     "connection",    "date",
                                 "etag",          "expires",    "keep-alive",        "last-modified", "location",
                                 "server",        "set-cookie", "transfer-encoding", "vary",          "via"};
  const std::string lower = ToLowerAscii(name);
  for (const char* other : kNames) {
    if (lower == other) return true;
  }
  return lower.starts_with("content-");
}

// The length of the whole file in an answer to a range of it.
std::optional<uint64_t> WholeLength(const Fields& fields) {
  const std::string_view range = fields.Find("content-range").value_or("");
  const size_t slash = range.find('/');
  return slash == std::string_view::npos ? std::nullopt : ParseDecimal<uint64_t>(range.substr(slash + 1));
}

}  // namespace

// URLs that are signed for GET refuse a HEAD.
asio::awaitable<absl::StatusOr<OriginAnswer>> Handler::AskHeadByGet(Target target, Fields fields) {
  RequestHead ask;
  ask.method = "GET";
  ask.fields = std::move(fields);
  ask.fields.Set("Range", "bytes=0-0");
  absl::StatusOr<OriginAnswer> answer =
      co_await origin_.Send(std::move(target.url), target.trust, std::move(ask), RequestBody());
  if (!answer.ok() || answer->head.status / 100 != 2) co_return answer;
  ResponseHead& head = answer->head;
  if (const std::optional<uint64_t> length = WholeLength(head.fields)) {
    head.fields.Set("Content-Length", std::to_string(*length));
  } else if (head.status == 206) {
    head.fields.Remove("content-length");  // that of one byte
  }
  head.fields.Remove("content-range");
  head.status = 200;
  head.reason = "OK";
  head.body = {};
  // The body is left unread.
  head.keep_alive = false;
  co_return answer;
}

asio::awaitable<absl::StatusOr<OriginAnswer>> Handler::AskHead(Target target, Fields fields) {
  std::optional<OriginAnswer> first;  // when it was a redirect
  for (int hop = 0;; ++hop) {
    RequestHead ask;
    ask.method = "HEAD";
    ask.fields = fields;
    absl::StatusOr<OriginAnswer> answer =
        co_await origin_.Send(target.url, target.trust, std::move(ask), RequestBody());
    std::optional<Url> next = answer.ok() && hop < kRedirectsMax ? LocationOf(target.url, answer->head) : std::nullopt;
    if (next) {
      if (!SameOrigin(target.url, *next)) {
        for (const char* name : {"authorization", "cookie"}) fields.Remove(name);
      }
      target.url = *std::move(next);
      if (first) {
        origin_.Keep(std::move(answer->connection), answer->head.keep_alive);
      } else {
        first = *std::move(answer);
      }
      continue;
    }
    if (!first) co_return answer;
    if (answer.ok() && answer->head.status / 100 != 2) answer = co_await AskHeadByGet(target, fields);
    // The client may have more luck with the redirect than we have.
    if (!answer.ok() || answer->head.status / 100 != 2) co_return *std::move(first);
    for (const auto& [name, value] : first->head.fields.entries()) {
      if (!IsOfOneAnswer(name) && !answer->head.fields.Find(name)) answer->head.fields.Add(name, value);
    }
    origin_.Keep(std::move(first->connection), first->head.keep_alive);
    co_return answer;
  }
}

}  // namespace dragonfly::daemon::proxy
