// SPDX-License-Identifier: Apache-2.0
#include "source/source.h"

#include "base/text.h"
#include "base/url.h"
#include "source/answer.h"
#include "source/http_source.h"
#include "source/object_location.h"
#include "source/object_source.h"

namespace dragonfly::source {
namespace {

std::string Find(const std::map<std::string, std::string>& header, const std::string& name) {
  const auto found = header.find(name);
  return found == header.end() ? "" : found->second;
}

class Sources : public SourceSet {
 public:
  Sources(boost::asio::io_context& io, const SourceOptions& options)
      : http_(io, options), objects_(io, options, http_) {}

  absl::StatusOr<Source*> For(std::string_view url) override {
    const absl::StatusOr<Url> parsed = Url::Parse(url);
    if (!parsed.ok()) return parsed.status();
    if (parsed->scheme == "http" || parsed->scheme == "https") return &http_;
    if (ObjectVendorOf(parsed->scheme).has_value()) return &objects_;
    return absl::InvalidArgumentError(StrCat("unsupported scheme ", Quoted(parsed->scheme)));
  }

 private:
  HttpSource http_;
  ObjectSource objects_;
};

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

std::unique_ptr<SourceSet> MakeSources(boost::asio::io_context& io, const SourceOptions& options) {
  return std::make_unique<Sources>(io, options);
}

}  // namespace dragonfly::source
