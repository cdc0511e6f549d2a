// SPDX-License-Identifier: Apache-2.0
#include "source/answer.h"

#include <algorithm>
#include <array>
#include <limits>

#include "absl/strings/ascii.h"
#include "base/text.h"

namespace dragonfly::source {
namespace {

constexpr int kPartialContent = 206;

// Set-Cookie and its like are for the one who asked the origin, not for everyone who gets the object from a peer.
constexpr std::array<std::string_view, 5> kSecretHeaders = {"set-cookie", "set-cookie2", "cookie", "authorization",
                                                            "proxy-authorization"};
constexpr std::array<std::string_view, 7> kConnectionHeaders = {
    "connection", "keep-alive", "proxy-connection", "te", "trailer", "transfer-encoding", "upgrade"};

// The JSON of a refusal travels in grpc-status-details-bin; gRPC takes 8 KiB of metadata in all, a third of it goes to
// base64.
constexpr size_t kRefusalHeaderMax = 4096;

template <size_t N>
bool Contains(const std::array<std::string_view, N>& names, std::string_view name) {
  return std::find(names.begin(), names.end(), name) != names.end();
}

bool IsAscii(std::string_view text) {
  return std::all_of(text.begin(), text.end(),
                     [](char c) { return absl::ascii_isascii(static_cast<unsigned char>(c)); });
}

absl::Status HasChanged(std::string_view what, std::string_view before, std::string_view now) {
  return absl::DataLossError(StrCat("object has changed: ", what, " was ", Quoted(before), " and is ", Quoted(now)));
}

}  // namespace

std::optional<ContentRange> ParseContentRange(std::string_view value) {
  value = TrimSpace(value);
  constexpr std::string_view kUnit = "bytes";
  if (value.size() <= kUnit.size() || !EqualsIgnoreCase(value.substr(0, kUnit.size()), kUnit)) return std::nullopt;
  value.remove_prefix(kUnit.size());
  if (value.front() != ' ') return std::nullopt;
  value = TrimSpace(value);
  const size_t slash = value.find('/');
  if (slash == value.npos) return std::nullopt;
  const std::string_view range = value.substr(0, slash);
  const std::string_view total = value.substr(slash + 1);

  ContentRange result;
  if (total != "*") {
    result.total = ParseDecimal<uint64_t>(total);
    if (!result.total.has_value()) return std::nullopt;
  }
  if (range == "*") return result;
  const size_t dash = range.find('-');
  if (dash == range.npos) return std::nullopt;
  const std::optional<uint64_t> first = ParseDecimal<uint64_t>(range.substr(0, dash));
  const std::optional<uint64_t> last = ParseDecimal<uint64_t>(range.substr(dash + 1));
  if (!first.has_value() || !last.has_value() || *first > *last) return std::nullopt;
  if (*last == std::numeric_limits<uint64_t>::max()) return std::nullopt;
  if (result.total.has_value() && *last >= *result.total) return std::nullopt;
  result.range = ByteRange{*first, *last - *first + 1};
  return result;
}

std::optional<uint64_t> ContentLengthOf(const http::CurlResponse& response) {
  const std::optional<std::string> value = response.Find("content-length");
  return value.has_value() ? ParseDecimal<uint64_t>(*value) : std::nullopt;
}

bool IsStrongEtag(std::string_view etag) { return etag.size() >= 2 && etag.front() == '"' && etag.back() == '"'; }

absl::Status CheckVersion(const ObjectVersion& known, const http::CurlResponse& response,
                          std::optional<uint64_t> total) {
  if (known.content_length.has_value() && total.has_value() && *known.content_length != *total) {
    return HasChanged("its length", StrCat(*known.content_length), StrCat(*total));
  }
  const std::optional<std::string> etag = response.Find("etag");
  if (!known.etag.empty() && etag.has_value()) {
    const bool same = *etag == known.etag && IsStrongEtag(*etag);
    return same ? absl::OkStatus() : HasChanged("its ETag", known.etag, *etag);
  }
  const std::optional<std::string> modified = response.Find("last-modified");
  if (!known.last_modified.empty() && modified.has_value() && *modified != known.last_modified) {
    return HasChanged("its Last-Modified", known.last_modified, *modified);
  }
  return absl::OkStatus();
}

void LearnVersion(const http::CurlResponse& response, std::optional<uint64_t> total, ObjectVersion& known) {
  if (known.etag.empty()) {
    std::optional<std::string> etag = response.Find("etag");
    if (etag.has_value() && IsStrongEtag(*etag)) known.etag = *std::move(etag);
  }
  if (known.last_modified.empty()) known.last_modified = response.Find("last-modified").value_or("");
  if (!known.content_length.has_value()) known.content_length = total;
}

absl::Status CheckRangeAnswer(const http::CurlResponse& response, const ByteRange& asked, ObjectVersion& known) {
  const std::string asked_text = ToHttpRange(asked);
  const std::optional<uint64_t> body_length = ContentLengthOf(response);
  std::optional<uint64_t> total;
  if (response.status == kPartialContent) {
    const std::optional<std::string> value = response.Find("content-range");
    if (!value.has_value()) {
      return absl::FailedPreconditionError(StrCat("missing Content-Range for range ", asked_text));
    }
    const std::optional<ContentRange> answered = ParseContentRange(*value);
    if (!answered.has_value() || !answered->range.has_value()) {
      return absl::FailedPreconditionError(StrCat("invalid Content-Range ", Quoted(*value)));
    }
    if (*answered->range != asked) {
      // A shorter range is how an object that has shrunk answers.
      absl::Status changed = CheckVersion(known, response, answered->total);
      if (!changed.ok()) return changed;
      return absl::FailedPreconditionError(
          StrCat("Content-Range ", Quoted(*value), " mismatches requested range ", asked_text));
    }
    if (body_length.has_value() && *body_length != asked.length) {
      return absl::FailedPreconditionError(
          StrCat("Content-Length ", *body_length, " mismatches requested range ", asked_text));
    }
    total = answered->total;
  } else {
    if (asked.offset != 0) {
      return absl::FailedPreconditionError(StrCat("origin ignores ranges: expected 206 Partial Content for range ",
                                                  asked_text, ", got ", response.status_text));
    }
    total = body_length;
  }
  absl::Status same = CheckVersion(known, response, total);
  if (!same.ok()) return same;
  if (total.has_value() && *total < asked.end()) {
    return absl::DataLossError(
        StrCat("object has changed: it has ", *total, " bytes and ends within range ", asked_text));
  }
  LearnVersion(response, total, known);
  return absl::OkStatus();
}

std::map<std::string, std::string> DescribeHeader(const http::CurlResponse& response) {
  std::map<std::string, std::string> described;
  for (const auto& [name, value] : response.header) {
    if (Contains(kSecretHeaders, name) || Contains(kConnectionHeaders, name) || !IsAscii(value)) continue;
    const auto [at, is_new] = described.emplace(name, value);
    if (!is_new) at->second.append(", ").append(value);
  }
  return described;
}

std::optional<OriginStat> StatOf(const http::CurlResponse& response, uint64_t first_bytes) {
  OriginStat stat;
  stat.header = DescribeHeader(response);
  if (response.status != kPartialContent) {
    stat.content_length = ContentLengthOf(response);
    if (response.status == 204) stat.content_length = 0;
    return stat;
  }
  const std::optional<std::string> value = response.Find("content-range");
  const std::optional<ContentRange> range = value.has_value() ? ParseContentRange(*value) : std::nullopt;
  if (!range.has_value() || !range->total.has_value()) return std::nullopt;
  const ByteRange first{0, std::min(first_bytes, *range->total)};
  if (range->range != first) return std::nullopt;
  stat.content_length = *range->total;
  stat.accepts_ranges = true;
  stat.header.erase("content-range");
  stat.header["content-length"] = StrCat(*range->total);
  return stat;
}

bool IsTransient(int status) { return status >= 500 || status == 408 || status == 429; }

std::optional<std::chrono::milliseconds> RetryAfter(const http::CurlResponse& response, absl::Time now) {
  const std::optional<std::string> value = response.Find("retry-after");
  if (!value.has_value()) return std::nullopt;
  if (const std::optional<uint32_t> seconds = ParseDecimal<uint32_t>(*value)) return std::chrono::seconds(*seconds);
  absl::Time date;
  std::string error;
  if (!absl::ParseTime("%a, %d %b %Y %H:%M:%S GMT", *value, &date, &error)) return std::nullopt;
  return absl::ToChronoMilliseconds(std::max(date - now, absl::ZeroDuration()));
}

absl::Status RefusalOf(const http::CurlResponse& response, std::string_view why) {
  BackendError error;
  error.message = why.empty() ? response.status_text : StrCat(response.status_text, ": ", why);
  error.status_code = response.status;
  size_t size = 0;
  for (auto& [name, value] : DescribeHeader(response)) {
    const size_t entry = name.size() + value.size() + 6;  // quotes, colon, comma
    if (size + entry > kRefusalHeaderMax) continue;
    size += entry;
    error.header[name] = value;
  }
  return MakeBackendErrorStatus(error);
}

absl::Status UnreachableOf(const absl::Status& transport) {
  BackendError error;
  error.message = std::string(transport.message());
  return MakeBackendErrorStatus(error);
}

}  // namespace dragonfly::source
