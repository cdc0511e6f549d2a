// SPDX-License-Identifier: Apache-2.0
#include "daemon/garbage_collector.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <map>
#include <set>
#include <span>
#include <string>

#include "base/digest.h"
#include "rpc/otlp_exporter.h"
#include "runtime/io_threads.h"
#include "tests/support/otlp_collector.h"
#include "tests/unit/daemon/daemon_fixture.h"
#include "tests/unit/daemon/scripted_link.h"
#include "tests/unit/daemon/scripted_scheduler.h"

namespace dragonfly::daemon {
namespace {

using test::Await;
using ::testing::ElementsAre;
using ::testing::IsEmpty;

constexpr uint64_t kKiB = 1024;

class GarbageCollectorTest : public ::testing::Test {
 protected:
  GarbageCollectorTest() {
    storage::StoreOptions options;
    options.dir = dir_.path() + "/store";
    options.capacity_bytes = 1000 * kKiB;
    auto opened = storage::ContentStore::Open(options);
    EXPECT_TRUE(opened.ok()) << opened.status();
    store_ = *std::move(opened);
    // Every task of these tests is idle and old at once.
    policy_.in_use = policy_.just_used = policy_.unfinished = policy_.task_ttl = absl::ZeroDuration();
  }

  // A complete content of `bytes` bytes.
  TaskId Add(const std::string& name, uint64_t bytes) {
    const TaskId id = *TaskId::Parse(Sha256Hex(name));
    storage::ContentShape shape;
    shape.content_length = bytes;
    shape.piece_length = kPieceLengthMin;
    auto content = store_->FindOrCreate(id, shape);
    EXPECT_TRUE(content.ok()) << content.status();
    auto writer = (*content)->BeginPiece(PieceNumber(0));
    EXPECT_TRUE(writer.ok()) << writer.status();
    const std::string data(bytes, 'x');
    EXPECT_TRUE(writer->Append(std::as_bytes(std::span(data))).ok());
    EXPECT_TRUE(writer->Commit(std::nullopt, "", storage::TrafficType::kBackToSource).ok());
    return id;
  }

  std::unique_ptr<GarbageCollector> MakeCollector() {
    GarbageCollector::Parts parts{.io = io_.At(0),
                                  .blocking = blocking_,
                                  .store = *store_,
                                  .schedulers = link_,
                                  .running = [this](const TaskId& id) { return running_.contains(id); },
                                  .trace = trace_};
    return std::make_unique<GarbageCollector>(policy_, absl::Hours(1), std::move(parts));
  }
  size_t Collect() { return Await(io_.At(0), MakeCollector()->RunOnce()); }

  test::TempDir dir_;
  runtime::IoThreads io_{1};
  runtime::BlockingPool blocking_{1, 64};
  std::unique_ptr<storage::ContentStore> store_;
  ScriptedLink link_;
  GarbagePolicy policy_;
  std::set<TaskId> running_;
  telemetry::SpanParent trace_;
};

TEST_F(GarbageCollectorTest, RemovesWhatIsTooOldAndTellsTheScheduler) {
  const TaskId old = Add("old", 100 * kKiB);
  EXPECT_EQ(Collect(), 1u);
  EXPECT_EQ(store_->Find(old), nullptr);
  EXPECT_THAT(link_.events(), ElementsAre("delete task " + old.str()));
}

TEST_F(GarbageCollectorTest, LeavesARunningDownloadAlone) {
  const TaskId id = Add("running", 900 * kKiB);
  running_.insert(id);
  EXPECT_EQ(Collect(), 0u);
  EXPECT_NE(store_->Find(id), nullptr);
  EXPECT_THAT(link_.events(), IsEmpty());
}

TEST_F(GarbageCollectorTest, MakesRoomWhenTheBudgetIsNearlyUsed) {
  policy_.task_ttl = absl::Hours(1);
  const TaskId first = Add("first", 400 * kKiB);
  const TaskId second = Add("second", 300 * kKiB);
  EXPECT_EQ(Collect(), 0u);
  const TaskId third = Add("third", 200 * kKiB);
  EXPECT_EQ(Collect(), 1u);
  EXPECT_EQ(store_->Find(first), nullptr);
  EXPECT_NE(store_->Find(second), nullptr);
  EXPECT_NE(store_->Find(third), nullptr);
}

TEST_F(GarbageCollectorTest, LeavesWhatIsBeingReadAlone) {
  const TaskId id = Add("read", 900 * kKiB);
  {
    const absl::StatusOr<storage::PieceBytes> reader = store_->Find(id)->OpenPiece(PieceNumber(0));
    ASSERT_TRUE(reader.ok());
    EXPECT_EQ(Collect(), 0u);
  }
  EXPECT_EQ(Collect(), 1u);
}

// Four hundred tasks of a few bytes take a block each, and one for their log.
TEST_F(GarbageCollectorTest, CountsTheBlocksThatTasksTake) {
  policy_.task_ttl = absl::Hours(1);
  for (int i = 0; i < 400; ++i) Add("tiny-" + std::to_string(i), 10);
  EXPECT_LT(store_->usage().content_bytes, 10 * kKiB);
  const storage::TaskContent::Blocks blocks = *store_->List().front()->ReadBlocks();
  const size_t evicted = Collect();
  if (blocks.content_bytes + blocks.metadata_bytes < 4 * kKiB)
    GTEST_SKIP() << "files of a few bytes take no block here";
  EXPECT_GE(evicted, 200u);
  EXPECT_LT(evicted, 400u);
}

TEST_F(GarbageCollectorTest, MakesRoomAtOnceForADownloadThatNeedsIt) {
  policy_.task_ttl = absl::Hours(1);
  const TaskId first = Add("first", 300 * kKiB);
  const TaskId second = Add("second", 300 * kKiB);
  const std::unique_ptr<GarbageCollector> collector = MakeCollector();
  collector->Start();
  // With the second no more than what the pass at the start leaves alone, whenever that comes.
  const TaskId third = Add("third", 550 * kKiB);
  EXPECT_EQ(store_->Find(first), nullptr);
  EXPECT_NE(store_->Find(second), nullptr);
  EXPECT_NE(store_->Find(third), nullptr);
  EXPECT_TRUE(link_.Await("delete task " + first.str()));
  Await(io_.At(0), collector->Stop());
}

TEST_F(GarbageCollectorTest, EvictsNothingWhenItWouldNotBeEnough) {
  policy_.task_ttl = absl::Hours(1);
  const TaskId kept = Add("kept", 300 * kKiB);
  const TaskId busy = Add("busy", 500 * kKiB);
  running_.insert(busy);
  const std::unique_ptr<GarbageCollector> collector = MakeCollector();
  const TaskId other = *TaskId::Parse(Sha256Hex("other"));
  EXPECT_EQ(collector->MakeRoom(other, 600 * kKiB), 0u);
  EXPECT_NE(store_->Find(kept), nullptr);
  EXPECT_GE(collector->MakeRoom(other, 400 * kKiB), 300 * kKiB);
  EXPECT_EQ(store_->Find(kept), nullptr);
  EXPECT_NE(store_->Find(busy), nullptr);
}

TEST_F(GarbageCollectorTest, TellsTracesWhatItEvicts) {
  dragonfly::testing::OtlpCollector collector;
  telemetry::TracerOptions options;
  options.name = "test";
  options.batch_delay = std::chrono::milliseconds(1);
  telemetry::Tracer tracer(options, *rpc::MakeOtlpExporter({.endpoint = collector.endpoint()}));
  trace_ = tracer.Root();
  const TaskId old = Add("old", 100 * kKiB);
  EXPECT_EQ(Collect(), 1u);
  policy_.task_ttl = absl::Hours(1);
  Add("large", 900 * kKiB);
  EXPECT_EQ(Collect(), 1u);
  const TaskId kept = Add("kept", 500 * kKiB);
  EXPECT_EQ(MakeCollector()->MakeRoom(kept, 400 * kKiB), 0u);  // and says nothing about it
  Add("other", 300 * kKiB);
  EXPECT_GE(MakeCollector()->MakeRoom(kept, 300 * kKiB), 300 * kKiB);
  const std::vector<std::string> names = {"evict_task_by_ttl", "evict_task_by_disk_usage", "evict_task_space",
                                          "delete_task_from_scheduler"};
  std::map<std::string, std::string> seen;  // by name: the first one's attributes
  for (const auto& one : collector.WaitForNames(names)) {
    seen.emplace(one.span.name(), one.Attribute("tasks") + one.Attribute("task_id"));
  }
  EXPECT_EQ(seen["evict_task_by_ttl"], "1");
  EXPECT_EQ(seen["evict_task_by_disk_usage"], "1");
  EXPECT_TRUE(seen.contains("evict_task_space"));
  EXPECT_EQ(seen["delete_task_from_scheduler"], old.str());
  tracer.Stop(Clock::now());
}

TEST_F(GarbageCollectorTest, NeverEvictsTheTaskThatNeedsTheRoom) {
  const TaskId id = Add("mine", 900 * kKiB);
  EXPECT_EQ(MakeCollector()->MakeRoom(id, 500 * kKiB), 0u);
  EXPECT_NE(store_->Find(id), nullptr);
}

TEST_F(GarbageCollectorTest, WorksInTheBackgroundUntilItIsStopped) {
  const TaskId old = Add("old", 100 * kKiB);
  const std::unique_ptr<GarbageCollector> collector = MakeCollector();
  collector->Start();
  EXPECT_TRUE(link_.Await("delete task"));
  Await(io_.At(0), collector->Stop());
  EXPECT_EQ(store_->Find(old), nullptr);
}

}  // namespace
}  // namespace dragonfly::daemon
