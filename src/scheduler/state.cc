// SPDX-License-Identifier: Apache-2.0
#include "scheduler/state.h"

#include <array>
#include <cstddef>

#include "base/text.h"

namespace dragonfly::scheduler {
namespace {

constexpr std::array<std::string_view, 10> kPeerStates = {
    "Pending", "ReceivedEmpty", "ReceivedTiny", "ReceivedSmall", "ReceivedNormal",
    "Running", "BackToSource",  "Succeeded",    "Failed",        "Leave"};
constexpr std::array<std::string_view, 9> kPeerEvents = {"RegisterEmpty",     "RegisterTiny",   "RegisterSmall",
                                                         "RegisterNormal",    "Download",       "DownloadBackToSource",
                                                         "DownloadSucceeded", "DownloadFailed", "Leave"};
constexpr std::array<std::string_view, 5> kTaskStates = {"Pending", "Running", "Succeeded", "Failed", "Leave"};
constexpr std::array<std::string_view, 4> kTaskEvents = {"Download", "DownloadSucceeded", "DownloadFailed", "Leave"};

template <typename State, typename Event>
absl::Status Inappropriate(State state, Event event) {
  return absl::InternalError(StrCat("event ", Name(event), " inappropriate in current state ", Name(state)));
}

bool IsReceived(PeerState state) { return state >= PeerState::kReceivedEmpty && state <= PeerState::kReceivedNormal; }

bool Allows(PeerState state, PeerEvent event) {
  switch (event) {
    case PeerEvent::kRegisterEmpty:
    case PeerEvent::kRegisterTiny:
    case PeerEvent::kRegisterSmall:
    case PeerEvent::kRegisterNormal:
      return state == PeerState::kPending;
    case PeerEvent::kDownload:
      return IsReceived(state);
    case PeerEvent::kDownloadBackToSource:
      return IsReceived(state) || state == PeerState::kRunning;
    case PeerEvent::kDownloadSucceeded:
      return IsReceived(state) || state == PeerState::kRunning || state == PeerState::kBackToSource;
    case PeerEvent::kDownloadFailed:
      return state != PeerState::kFailed && state != PeerState::kLeave;
    case PeerEvent::kLeave:
      return state != PeerState::kLeave;
  }
  return false;
}

PeerState Target(PeerEvent event) {
  switch (event) {
    case PeerEvent::kRegisterEmpty:
      return PeerState::kReceivedEmpty;
    case PeerEvent::kRegisterTiny:
      return PeerState::kReceivedTiny;
    case PeerEvent::kRegisterSmall:
      return PeerState::kReceivedSmall;
    case PeerEvent::kRegisterNormal:
      return PeerState::kReceivedNormal;
    case PeerEvent::kDownload:
      return PeerState::kRunning;
    case PeerEvent::kDownloadBackToSource:
      return PeerState::kBackToSource;
    case PeerEvent::kDownloadSucceeded:
      return PeerState::kSucceeded;
    case PeerEvent::kDownloadFailed:
      return PeerState::kFailed;
    case PeerEvent::kLeave:
      return PeerState::kLeave;
  }
  return PeerState::kLeave;
}

}  // namespace

std::string_view Name(PeerState state) { return kPeerStates[static_cast<size_t>(state)]; }
std::string_view Name(PeerEvent event) { return kPeerEvents[static_cast<size_t>(event)]; }
std::string_view Name(TaskState state) { return kTaskStates[static_cast<size_t>(state)]; }
std::string_view Name(TaskEvent event) { return kTaskEvents[static_cast<size_t>(event)]; }

absl::StatusOr<PeerState> Next(PeerState state, PeerEvent event) {
  if (!Allows(state, event)) return Inappropriate(state, event);
  return Target(event);
}

absl::StatusOr<TaskState> Next(TaskState state, TaskEvent event) {
  switch (event) {
    case TaskEvent::kDownload:
      if (state == TaskState::kRunning) break;
      return TaskState::kRunning;
    case TaskEvent::kDownloadSucceeded:
      if (state == TaskState::kPending || state == TaskState::kSucceeded) break;
      return TaskState::kSucceeded;
    case TaskEvent::kDownloadFailed:
      if (state != TaskState::kRunning) break;
      return TaskState::kFailed;
    case TaskEvent::kLeave:
      if (state == TaskState::kLeave) break;
      return TaskState::kLeave;
  }
  return Inappropriate(state, event);
}

}  // namespace dragonfly::scheduler
