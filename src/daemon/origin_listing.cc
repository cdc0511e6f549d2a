// SPDX-License-Identifier: Apache-2.0
#include "daemon/origin_listing.h"

#include <utility>
#include <vector>

#include "base/status.h"
#include "base/url.h"

namespace dragonfly::daemon {

namespace asio = boost::asio;

asio::awaitable<absl::StatusOr<OriginListing>> ListOrigin(source::SourceSet& sources, source::OriginRequest request) {
  OriginListing listing;
  DF_CO_ASSIGN_OR_RETURN(const Url url, Url::Parse(request.url));
  DF_CO_ASSIGN_OR_RETURN(source::Source* const source, sources.For(request.url));
  if (!url.path.ends_with('/')) {
    absl::StatusOr<source::OriginStat> stat = co_await source->Stat(request);
    if (stat.ok()) {
      listing.stat = *std::move(stat);
      co_return listing;
    }
    // A directory all the same, when the source says that the URL names no file.
    if (!absl::IsInvalidArgument(stat.status())) co_return stat.status();
  }
  absl::StatusOr<std::vector<source::OriginEntry>> entries = co_await source->List(request, kOriginEntriesMax);
  if (entries.ok()) {
    listing.entries = *std::move(entries);
    co_return listing;
  }
  // Where there are no directories, a slash at the end of a URL means nothing.
  if (!absl::IsUnimplemented(entries.status())) co_return entries.status();
  DF_CO_ASSIGN_OR_RETURN(listing.stat, co_await source->Stat(std::move(request)));
  co_return listing;
}

}  // namespace dragonfly::daemon
