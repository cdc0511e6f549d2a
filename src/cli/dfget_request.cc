// SPDX-License-Identifier: Apache-2.0
#include "cli/dfget_request.h"

#include "base/digest.h"
#include "base/text.h"
#include "base/url.h"
#include "cli/origin_options.h"

namespace dragonfly::cli {
namespace {

void SetDuration(absl::Duration duration, google::protobuf::Duration& out) {
  const int64_t nanoseconds = absl::ToInt64Nanoseconds(duration);
  out.set_seconds(nanoseconds / 1'000'000'000);
  out.set_nanos(static_cast<int32_t>(nanoseconds % 1'000'000'000));
}

std::string SchemeOf(const std::string& text) {
  const auto url = Url::Parse(text);
  return url.ok() ? url->scheme : std::string();
}

// RFC 9110 §14.2; the unit may be left out on the command line, but not in the header: other daemons refuse that.
std::string AsRangeHeader(const std::string& range) {
  return range.find('=') == std::string::npos ? StrCat("bytes=", range) : range;
}

}  // namespace

dfdaemon::v2::DownloadTaskRequest MakeDownloadRequest(const DfgetOptions& options, const std::string& url,
                                                      const std::string& output) {
  dfdaemon::v2::DownloadTaskRequest request;
  common::v2::Download& download = *request.mutable_download();
  download.set_url(url);
  download.set_type(common::v2::STANDARD);
  download.set_tag(options.tag);
  download.set_application(options.application);
  download.set_priority(static_cast<common::v2::Priority>(options.priority));
  for (const std::string& name : options.filtered_query_params) download.add_filtered_query_params(name);
  for (const auto& [name, value] : options.header) (*download.mutable_request_header())[name] = value;
  if (options.range) (*download.mutable_request_header())["Range"] = AsRangeHeader(*options.range);
  if (!options.digest.empty()) download.set_digest(options.digest);
  if (options.piece_length) download.set_piece_length(*options.piece_length);
  if (options.content_for_calculating_task_id) {
    download.set_content_for_calculating_task_id(*options.content_for_calculating_task_id);
  }
  SetDuration(options.timeout, *download.mutable_timeout());
  download.set_disable_back_to_source(options.disable_back_to_source);
  download.set_force_hard_link(options.force_hard_link);
  download.set_overwrite(options.overwrite);
  SetOrigin(options.origin, SchemeOf(url), download);
  if (options.transfer_from_dfdaemon) {
    download.set_need_piece_content(true);
  } else {
    download.set_output_path(output);
  }
  return request;
}

dfdaemon::v2::ListTaskEntriesRequest MakeListRequest(const DfgetOptions& options, const std::string& url) {
  dfdaemon::v2::ListTaskEntriesRequest request;
  // The call is about no task, but daemons of other versions want an id in their logs.
  request.set_task_id(Sha256Hex(url));
  request.set_url(url);
  for (const auto& [name, value] : options.header) (*request.mutable_request_header())[name] = value;
  SetDuration(options.timeout, *request.mutable_timeout());
  SetOrigin(options.origin, SchemeOf(url), request);
  return request;
}

}  // namespace dragonfly::cli
