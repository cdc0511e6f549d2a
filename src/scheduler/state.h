// SPDX-License-Identifier: Apache-2.0
// The life cycles of peers and tasks, as plain transition tables. The names travel on the wire.
// Source: dragonfly v2.3.0, scheduler/resource/standard/{peer,task}.go.
#pragma once

#include <cstdint>
#include <string_view>

#include "absl/status/statusor.h"

namespace dragonfly::scheduler {

enum class PeerState : uint8_t {
  kPending,
  kReceivedEmpty,
  kReceivedTiny,
  kReceivedSmall,
  kReceivedNormal,
  kRunning,
  kBackToSource,
  kSucceeded,
  kFailed,
  kLeave,
};

enum class PeerEvent : uint8_t {
  kRegisterEmpty,
  kRegisterTiny,
  kRegisterSmall,
  kRegisterNormal,
  kDownload,
  kDownloadBackToSource,
  kDownloadSucceeded,
  kDownloadFailed,
  kLeave,
};

enum class TaskState : uint8_t { kPending, kRunning, kSucceeded, kFailed, kLeave };

enum class TaskEvent : uint8_t { kDownload, kDownloadSucceeded, kDownloadFailed, kLeave };

// "ReceivedNormal", "DownloadBackToSource", ...
std::string_view Name(PeerState state);
std::string_view Name(PeerEvent event);
std::string_view Name(TaskState state);
std::string_view Name(TaskEvent event);

// The state after `event`. Errors: INTERNAL "event <event> inappropriate in current state <state>", the text that the
// original's clients see.
absl::StatusOr<PeerState> Next(PeerState state, PeerEvent event);
absl::StatusOr<TaskState> Next(TaskState state, TaskEvent event);

}  // namespace dragonfly::scheduler
