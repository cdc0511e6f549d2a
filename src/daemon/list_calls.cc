// SPDX-License-Identifier: Apache-2.0
#include "daemon/list_calls.h"

#include <algorithm>
#include <utility>

#include "base/status.h"
#include "base/text.h"
#include "base/url.h"
#include "daemon/origin_access.h"

namespace dragonfly::daemon {

namespace wire = dfdaemon::v2;

namespace {

absl::Duration TimeoutOf(const wire::ListTaskEntriesRequest& request, absl::Duration max) {
  if (!request.has_timeout()) return max;
  const absl::Duration asked =
      absl::Seconds(request.timeout().seconds()) + absl::Nanoseconds(request.timeout().nanos());
  return std::clamp(asked, absl::ZeroDuration(), max);
}

boost::asio::awaitable<absl::Status> List(TaskManager& tasks, const wire::ListTaskEntriesRequest& request, bool local,
                                          wire::ListTaskEntriesResponse* response) {
  DF_CO_ASSIGN_OR_RETURN(const Url url, Url::Parse(request.url()));
  DF_CO_RETURN_IF_ERROR(CheckLocalFiles(request, local));
  source::OriginRequest asked;
  asked.url = request.url();
  for (const auto& [name, value] : request.request_header()) asked.header.emplace_back(name, value);
  SetOriginAccess(request, local, asked);
  asked.guarded = !local;
  const absl::Duration timeout = TimeoutOf(request, std::min(tasks.piece_timeout(), absl::Hours(24)));
  asked.deadline = Clock::now() + absl::ToChronoNanoseconds(timeout);

  const absl::StatusOr<OriginListing> listing = co_await tasks.ListOrigin(std::move(asked));
  if (!listing.ok()) co_return Annotate(listing.status(), StrCat("list ", url.scheme, "://", url.host));
  for (const source::OriginEntry& entry : listing->entries) {
    wire::Entry& out = *response->add_entries();
    out.set_url(entry.url);
    out.set_content_length(entry.content_length);
    out.set_is_dir(entry.is_directory);
  }
  response->set_content_length(listing->stat.content_length.value_or(0));
  response->mutable_response_header()->insert(listing->stat.header.begin(), listing->stat.header.end());
  co_return absl::OkStatus();
}

}  // namespace

boost::asio::awaitable<absl::Status> ListTaskEntries(TaskManager& tasks, const wire::ListTaskEntriesRequest& request,
                                                     bool local, wire::ListTaskEntriesResponse* response) {
  tasks.probe().ListTaskEntriesStarted(TaskType::kStandard);
  const absl::Status listed = co_await List(tasks, request, local, response);
  if (!listed.ok()) tasks.probe().ListTaskEntriesFailed(TaskType::kStandard);
  co_return listed;
}

}  // namespace dragonfly::daemon
