// SPDX-License-Identifier: Apache-2.0
#include "daemon/garbage_collector.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <set>
#include <span>
#include <string>

#include "base/digest.h"
#include "runtime/io_threads.h"
#include "tests/unit/daemon/daemon_fixture.h"
#include "tests/unit/daemon/scripted_link.h"
#include "tests/unit/daemon/scripted_scheduler.h"

namespace dragonfly::daemon {
namespace {

using test::Await;
using ::testing::ElementsAre;
using ::testing::IsEmpty;

class GarbageCollectorTest : public testing::Test {
 protected:
  GarbageCollectorTest() {
    storage::StoreOptions options;
    options.dir = dir_.path() + "/store";
    options.capacity_bytes = 1000;
    auto opened = storage::ContentStore::Open(options);
    EXPECT_TRUE(opened.ok()) << opened.status();
    store_ = *std::move(opened);
    // Every task of these tests is idle and old at once.
    policy_.in_use = policy_.unfinished = policy_.task_ttl = absl::ZeroDuration();
  }

  // A complete content of `bytes` bytes.
  TaskId Add(const std::string& name, uint64_t bytes) {
    const TaskId id = *TaskId::Parse(Sha256Hex(name));
    storage::ContentShape shape;
    shape.content_length = bytes;
    auto content = store_->FindOrCreate(id, shape);
    EXPECT_TRUE(content.ok()) << content.status();
    auto writer = (*content)->BeginPiece(PieceNumber(0));
    EXPECT_TRUE(writer.ok()) << writer.status();
    const std::string data(bytes, 'x');
    EXPECT_TRUE(writer->Append(std::as_bytes(std::span(data))).ok());
    EXPECT_TRUE(writer->Commit(std::nullopt, "", storage::TrafficType::kBackToSource).ok());
    return id;
  }

  size_t Collect() {
    GarbageCollector::Parts parts{.io = io_.At(0),
                                  .blocking = blocking_,
                                  .store = *store_,
                                  .schedulers = link_,
                                  .running = [this](const TaskId& id) { return running_.contains(id); }};
    GarbageCollector collector(policy_, absl::Hours(1), std::move(parts));
    return Await(io_.At(0), collector.RunOnce());
  }

  test::TempDir dir_;
  runtime::IoThreads io_{1};
  runtime::BlockingPool blocking_{1, 64};
  std::unique_ptr<storage::ContentStore> store_;
  ScriptedLink link_;
  GarbagePolicy policy_;
  std::set<TaskId> running_;
};

TEST_F(GarbageCollectorTest, RemovesWhatIsTooOldAndTellsTheScheduler) {
  const TaskId old = Add("old", 100);
  EXPECT_EQ(Collect(), 1u);
  EXPECT_EQ(store_->Find(old), nullptr);
  EXPECT_THAT(link_.events(), ElementsAre("delete task " + old.str()));
}

TEST_F(GarbageCollectorTest, LeavesARunningDownloadAlone) {
  const TaskId id = Add("running", 900);
  running_.insert(id);
  EXPECT_EQ(Collect(), 0u);
  EXPECT_NE(store_->Find(id), nullptr);
  EXPECT_THAT(link_.events(), IsEmpty());
}

TEST_F(GarbageCollectorTest, MakesRoomWhenTheBudgetIsNearlyUsed) {
  policy_.task_ttl = absl::Hours(1);
  const TaskId first = Add("first", 400);
  const TaskId second = Add("second", 300);
  EXPECT_EQ(Collect(), 0u);
  const TaskId third = Add("third", 200);
  EXPECT_EQ(Collect(), 1u);
  EXPECT_EQ(store_->Find(first), nullptr);
  EXPECT_NE(store_->Find(second), nullptr);
  EXPECT_NE(store_->Find(third), nullptr);
}

TEST_F(GarbageCollectorTest, WorksInTheBackgroundUntilItIsStopped) {
  const TaskId old = Add("old", 100);
  GarbageCollector::Parts parts{
      .io = io_.At(0), .blocking = blocking_, .store = *store_, .schedulers = link_, .running = [](const TaskId&) {
        return false;
      }};
  GarbageCollector collector(policy_, absl::Hours(1), std::move(parts));
  collector.Start();
  EXPECT_TRUE(link_.Await("delete task"));
  Await(io_.At(0), collector.Stop());
  EXPECT_EQ(store_->Find(old), nullptr);
}

}  // namespace
}  // namespace dragonfly::daemon
