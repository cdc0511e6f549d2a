// SPDX-License-Identifier: Apache-2.0
#include "daemon/revalidation.h"

#include <map>
#include <string>

#include "base/backend_error.h"
#include "base/task_id.h"
#include "common/v2/common.pb.h"

namespace dragonfly::daemon {

namespace {

// A stat as it could have been answered when the content was made.
source::ObjectVersion VersionOfContent(const storage::TaskContent& content) {
  source::OriginStat stat;
  stat.header = content.response_header();
  if (const std::optional<PieceLayout> layout = content.layout()) stat.content_length = layout->content_length();
  return source::VersionOf(stat);
}

bool NeedsNoQuestion(const common::v2::Download& wire) {
  if (wire.disable_back_to_source() && !wire.need_back_to_source()) return true;
  return BlobDigestTaskId(wire.url()).has_value();
}

}  // namespace

bool FreshEnough(const DaemonConfig::Storage& config, std::optional<TimePoint> confirmed_at, TimePoint asked_at,
                 TimePoint now) {
  if (config.revalidate == DaemonConfig::Revalidate::kNever) return true;
  if (!confirmed_at) return false;
  if (*confirmed_at >= asked_at) return true;
  return config.revalidate == DaemonConfig::Revalidate::kInterval &&
         now - *confirmed_at < absl::ToChronoNanoseconds(std::min(config.revalidate_interval, absl::Hours(24 * 365)));
}

bool MayUseUnasked(const DaemonConfig::Storage& config, const storage::TaskContent& content,
                   const common::v2::Download& wire, TimePoint now) {
  return FreshEnough(config, content.confirmed_at(), now, now) || NeedsNoQuestion(wire);
}

bool MayShareUnasked(const DaemonConfig::Storage& config, const common::v2::Download& wire) {
  return config.revalidate != DaemonConfig::Revalidate::kAlways || NeedsNoQuestion(wire);
}

bool SameObject(const storage::TaskContent& content, const source::OriginStat& stat) {
  const source::ObjectVersion had = VersionOfContent(content);
  const source::ObjectVersion has = source::VersionOf(stat);
  if (!had.content_length) return false;
  if (has.content_length && *has.content_length != *had.content_length) return false;
  if (!had.etag.empty() && !has.etag.empty()) return had.etag == has.etag;
  if (!had.last_modified.empty() && !has.last_modified.empty()) return had.last_modified == has.last_modified;
  return has.content_length.has_value();
}

bool IsOutOfReach(const absl::Status& status) {
  if (absl::IsDeadlineExceeded(status) || absl::IsUnavailable(status)) return true;
  const std::optional<BackendError> error = GetBackendError(status);
  if (!error) return false;
  if (!error->status_code) return true;
  return *error->status_code >= 500 || *error->status_code == 408 || *error->status_code == 429;
}

}  // namespace dragonfly::daemon
