// SPDX-License-Identifier: Apache-2.0
#include "source/source.h"

#include <algorithm>
#include <utility>

#include "base/status.h"
#include "base/text.h"
#include "base/url.h"
#include "source/answer.h"

namespace dragonfly::source {
namespace {

std::string Find(const std::map<std::string, std::string>& header, const std::string& name) {
  const auto found = header.find(name);
  return found == header.end() ? "" : found->second;
}

}  // namespace

ObjectVersion VersionOf(const OriginStat& stat) {
  ObjectVersion version;
  std::string etag = Find(stat.header, "etag");
  if (IsStrongEtag(etag)) version.etag = std::move(etag);
  version.last_modified = Find(stat.header, "last-modified");
  version.content_length = stat.content_length;
  return version;
}

boost::asio::awaitable<absl::StatusOr<Opening>> Source::Open(OriginRequest request, uint64_t first_bytes, Opened opened,
                                                             runtime::TokenBucket& limiter) {
  Opening opening;
  DF_CO_ASSIGN_OR_RETURN(opening.stat, co_await Stat(request));
  DF_CO_ASSIGN_OR_RETURN(ByteSink* const sink, opened(opening.stat));
  if (sink == nullptr) co_return opening;
  if (!opening.stat.content_length || !opening.stat.accepts_ranges) {
    const absl::StatusOr<uint64_t> whole =
        co_await ReadAll(std::move(request), VersionOf(opening.stat), *sink, limiter);
    opening.body = whole.status();
    opening.bytes = whole.value_or(0);
    co_return opening;
  }
  const ByteRange first{0, std::min(first_bytes, *opening.stat.content_length)};
  if (first.length == 0) co_return opening;
  opening.body = co_await Read(std::move(request), first, VersionOf(opening.stat), *sink, limiter);
  if (opening.body.ok()) opening.bytes = first.length;
  co_return opening;
}

boost::asio::awaitable<absl::StatusOr<std::vector<OriginEntry>>> Source::List(OriginRequest request, size_t) {
  const absl::StatusOr<Url> parsed = Url::Parse(request.url);
  if (!parsed.ok()) co_return parsed.status();
  co_return absl::UnimplementedError(StrCat("origins of scheme ", Quoted(parsed->scheme), " have no directories"));
}

}  // namespace dragonfly::source
