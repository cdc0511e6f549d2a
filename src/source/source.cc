// SPDX-License-Identifier: Apache-2.0
#include "source/source.h"

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

boost::asio::awaitable<absl::StatusOr<std::vector<OriginEntry>>> Source::List(OriginRequest request, size_t) {
  const absl::StatusOr<Url> parsed = Url::Parse(request.url);
  if (!parsed.ok()) co_return parsed.status();
  co_return absl::UnimplementedError(StrCat("origins of scheme ", Quoted(parsed->scheme), " have no directories"));
}

}  // namespace dragonfly::source
