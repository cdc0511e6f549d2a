// SPDX-License-Identifier: Apache-2.0
// When a content of this host may be used, and whether it is still what its origin has (storage.revalidate; see
// docs/download.md).
#pragma once

#include <optional>

#include "absl/status/status.h"
#include "daemon/config.h"
#include "runtime/clock.h"
#include "source/source.h"
#include "storage/task_content.h"

namespace common::v2 {
class Download;
}

namespace dragonfly::daemon {

// True when `content` may be used for `wire` at `now` without asking the origin: the policy says so, the origin has
// confirmed it lately enough, the caller forbids the origin, or the URL names the bytes themselves (a blob of a
// registry by its digest), so that they cannot change.
bool MayUseUnasked(const DaemonConfig::Storage& config, const storage::TaskContent& content,
                   const common::v2::Download& wire, TimePoint now);

// True when a caller with `wire` may share what another caller's credentials have got just now, without the origin
// having been asked for its own ones: the policy or the caller does not want questions, or the URL names the bytes.
bool MayShareUnasked(const DaemonConfig::Storage& config, const common::v2::Download& wire);

// As MayUseUnasked() for a content of which only is known when the origin has confirmed it (nullopt: not in this life
// of whoever has it). `asked_at`: when the caller came; what was confirmed since then is new enough for every policy.
bool FreshEnough(const DaemonConfig::Storage& config, std::optional<TimePoint> confirmed_at, TimePoint asked_at,
                 TimePoint now);

// True when the origin's answer is about the same bytes: the lengths agree, and the strong ETags do or, where one of
// them is missing, the times of last modification. An origin that tells no length must have a strong ETag or a time.
bool SameObject(const storage::TaskContent& content, const source::OriginStat& stat);

// True when `status` (of a Source) says that the origin could not be asked or is out of order (no connection, no answer
// in time, 408, 429, 5xx), not that it refused.
bool IsOutOfReach(const absl::Status& status);

}  // namespace dragonfly::daemon
