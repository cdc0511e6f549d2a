// SPDX-License-Identifier: Apache-2.0
#include "daemon/garbage_policy.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <algorithm>
#include <functional>
#include <string>

namespace dragonfly::daemon {
namespace {

using ::testing::ElementsAre;
using ::testing::IsEmpty;

const absl::Time kNow = absl::FromUnixSeconds(1'700'000'000);

TaskId Id(char digit) { return *TaskId::Parse(std::string(64, digit)); }

GarbageCandidate Task(char digit, absl::Duration idle, uint64_t bytes = 100) {
  GarbageCandidate candidate(Id(digit));
  candidate.bytes = bytes;
  candidate.complete = true;
  candidate.created_at = kNow - idle - absl::Hours(24);
  candidate.updated_at = kNow - idle;
  return candidate;
}

TEST(ExpiredTasks, GoWhenNobodyHasUsedThemForTheTimeToLive) {
  GarbagePolicy policy;
  policy.task_ttl = absl::Hours(6);
  EXPECT_THAT(ExpiredTasks({Task('1', absl::Hours(7)), Task('2', absl::Hours(5))}, policy, kNow), ElementsAre(Id('1')));
}

TEST(ExpiredTasks, StayWhileTheyAreInUse) {
  GarbagePolicy policy;
  policy.task_ttl = absl::Seconds(1);
  GarbageCandidate running = Task('1', absl::Hours(7));
  running.running = true;
  EXPECT_THAT(ExpiredTasks({running, Task('2', absl::Seconds(30))}, policy, kNow), IsEmpty());
}

TEST(TasksOverBudget, StayBelowTheHighThreshold) {
  const std::vector<GarbageCandidate> tasks = {Task('1', absl::Hours(1))};
  EXPECT_THAT(TasksOverBudget(tasks, {.used_bytes = 799, .total_bytes = 1000}, GarbagePolicy(), kNow), IsEmpty());
  EXPECT_THAT(TasksOverBudget(tasks, {.used_bytes = 0, .total_bytes = 0}, GarbagePolicy(), kNow), IsEmpty());
}

TEST(TasksOverBudget, GoLeastRecentlyUsedFirstUntilTheLowThreshold) {
  const std::vector<GarbageCandidate> tasks = {Task('1', absl::Hours(1)), Task('2', absl::Hours(3)),
                                               Task('3', absl::Hours(2))};
  EXPECT_THAT(TasksOverBudget(tasks, {.used_bytes = 800, .total_bytes = 1000}, GarbagePolicy(), kNow),
              ElementsAre(Id('2'), Id('3')));
}

TEST(TasksOverBudget, SparesWhatIsInUseAndWhatMayGoOn) {
  GarbageCandidate running = Task('1', absl::Hours(5));
  running.running = true;
  GarbageCandidate unfinished = Task('2', absl::Minutes(30));
  unfinished.complete = false;
  unfinished.created_at = kNow - absl::Hours(1);
  GarbageCandidate abandoned = Task('3', absl::Minutes(30));
  abandoned.complete = false;
  abandoned.created_at = kNow - absl::Hours(3);
  const std::vector<GarbageCandidate> tasks = {running, unfinished, abandoned, Task('4', absl::Seconds(10)),
                                               Task('5', absl::Hours(9), /*bytes=*/0)};
  EXPECT_THAT(TasksOverBudget(tasks, {.used_bytes = 990, .total_bytes = 1000}, GarbagePolicy(), kNow),
              ElementsAre(Id('3')));
}

TEST(TasksOverBudget, CountsTheLargestDisks) {
  const uint64_t exbibyte = 1ull << 60;
  const std::vector<GarbageCandidate> tasks = {Task('1', absl::Hours(1), 4 * exbibyte), Task('2', absl::Minutes(5))};
  EXPECT_THAT(
      TasksOverBudget(tasks, {.used_bytes = 13 * exbibyte, .total_bytes = 15 * exbibyte}, GarbagePolicy(), kNow),
      ElementsAre(Id('1')));
}

// As many as there are in `tasks`; tells which were asked about.
std::function<uint64_t(const TaskId&)> BytesOf(const std::vector<GarbageCandidate>& tasks,
                                               std::vector<TaskId>* asked = nullptr) {
  return [&tasks, asked](const TaskId& id) {
    if (asked != nullptr) asked->push_back(id);
    return std::ranges::find(tasks, id, &GarbageCandidate::id)->bytes;
  };
}

TEST(TasksToMakeRoom, AsksForTheBytesOfNoMoreThanNeeded) {
  const std::vector<GarbageCandidate> tasks = {Task('2', absl::Minutes(20)), Task('1', absl::Hours(1)),
                                               Task('3', absl::Minutes(10))};
  std::vector<TaskId> asked;
  EXPECT_THAT(TasksToMakeRoom(tasks, 100, GarbagePolicy(), kNow, BytesOf(tasks, &asked)), ElementsAre(Id('1')));
  EXPECT_THAT(asked, ElementsAre(Id('1')));
}

TEST(TasksToMakeRoom, GoLeastRecentlyUsedFirstIncompleteOnesToo) {
  GarbageCandidate unfinished = Task('1', absl::Hours(1));
  unfinished.complete = false;
  unfinished.created_at = kNow - absl::Hours(1);
  const std::vector<GarbageCandidate> tasks = {Task('2', absl::Minutes(1)), unfinished, Task('3', absl::Minutes(30))};
  EXPECT_THAT(TasksToMakeRoom(tasks, 150, GarbagePolicy(), kNow, BytesOf(tasks)), ElementsAre(Id('1'), Id('3')));
}

TEST(TasksToMakeRoom, NoneGoWhenAllAreNotEnough) {
  GarbageCandidate running = Task('1', absl::Hours(5), 1000);
  running.running = true;
  const std::vector<GarbageCandidate> tasks = {running, Task('2', absl::Seconds(5), 1000), Task('3', absl::Hours(1)),
                                               Task('4', absl::Hours(1), /*bytes=*/0)};
  EXPECT_THAT(TasksToMakeRoom(tasks, 101, GarbagePolicy(), kNow, BytesOf(tasks)), IsEmpty());
  EXPECT_THAT(TasksToMakeRoom(tasks, 100, GarbagePolicy(), kNow, BytesOf(tasks)), ElementsAre(Id('3')));
}

}  // namespace
}  // namespace dragonfly::daemon
