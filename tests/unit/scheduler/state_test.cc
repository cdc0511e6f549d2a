// SPDX-License-Identifier: Apache-2.0
#include "scheduler/state.h"

#include <array>
#include <string>

#include "gtest/gtest.h"

namespace dragonfly::scheduler {
namespace {

using enum PeerState;

// Which events each state allows, one column a state in the order
// of PeerState. Source: dragonfly v2.3.0, scheduler/resource/standard/peer.go.
struct PeerRow {
  PeerEvent event;
  PeerState target;
  const char* allowed;  // one character a state
};
constexpr std::array<PeerRow, 9> kPeerTable = {{
    {PeerEvent::kRegisterEmpty, kReceivedEmpty, "1000000000"},
    {PeerEvent::kRegisterTiny, kReceivedTiny, "1000000000"},
    {PeerEvent::kRegisterSmall, kReceivedSmall, "1000000000"},
    {PeerEvent::kRegisterNormal, kReceivedNormal, "1000000000"},
    {PeerEvent::kDownload, kRunning, "0111100000"},
    {PeerEvent::kDownloadBackToSource, kBackToSource, "0111110000"},
    {PeerEvent::kDownloadSucceeded, kSucceeded, "0111111000"},
    {PeerEvent::kDownloadFailed, kFailed, "1111111100"},
    {PeerEvent::kLeave, kLeave, "1111111110"},
}};

TEST(PeerStates, FollowTheTable) {
  for (const PeerRow& row : kPeerTable) {
    for (int s = 0; s < 10; ++s) {
      const PeerState state = static_cast<PeerState>(s);
      const absl::StatusOr<PeerState> next = Next(state, row.event);
      EXPECT_EQ(next.ok(), row.allowed[s] == '1') << Name(row.event) << " in " << Name(state);
      if (next.ok()) EXPECT_EQ(*next, row.target);
    }
  }
}

TEST(PeerStates, RefusalsHaveTheTextThatClientsKnow) {
  const absl::StatusOr<PeerState> next = Next(kRunning, PeerEvent::kRegisterNormal);
  EXPECT_EQ(next.status().code(), absl::StatusCode::kInternal);
  EXPECT_EQ(next.status().message(), "event RegisterNormal inappropriate in current state Running");
}

struct TaskRow {
  TaskEvent event;
  TaskState target;
  const char* allowed;  // Pending Running Succeeded Failed Leave
};
constexpr std::array<TaskRow, 4> kTaskTable = {{
    {TaskEvent::kDownload, TaskState::kRunning, "10111"},
    {TaskEvent::kDownloadSucceeded, TaskState::kSucceeded, "01011"},
    {TaskEvent::kDownloadFailed, TaskState::kFailed, "01000"},
    {TaskEvent::kLeave, TaskState::kLeave, "11110"},
}};

TEST(TaskStates, FollowTheTable) {
  for (const TaskRow& row : kTaskTable) {
    for (int s = 0; s < 5; ++s) {
      const absl::StatusOr<TaskState> next = Next(static_cast<TaskState>(s), row.event);
      EXPECT_EQ(next.ok(), row.allowed[s] == '1') << Name(row.event) << " in " << Name(static_cast<TaskState>(s));
      if (next.ok()) EXPECT_EQ(*next, row.target);
    }
  }
}

}  // namespace
}  // namespace dragonfly::scheduler
