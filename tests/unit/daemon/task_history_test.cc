// SPDX-License-Identifier: Apache-2.0
#include "daemon/task_history.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <thread>

namespace dragonfly::daemon {
namespace {

using testing::ElementsAre;
using testing::HasSubstr;

TaskId Id(int number) {
  std::string text = std::to_string(number);
  text.insert(0, 64 - text.size(), '0');
  return *TaskId::Parse(text);
}

storage::PieceRecord Record(uint32_t number, const std::string& parent, absl::Duration cost = absl::Milliseconds(5)) {
  storage::PieceRecord record;
  record.number = PieceNumber(number);
  record.range = {.offset = number * 100ull, .length = 100};
  record.parent_id = parent;
  record.traffic_type = parent.empty() ? storage::TrafficType::kBackToSource : storage::TrafficType::kRemotePeer;
  record.cost = cost;
  return record;
}

CandidateParent Parent(const std::string& peer, const std::string& host) {
  CandidateParent parent;
  parent.peer_id = peer;
  parent.host_id = host;
  parent.ip = "10.0.0.1";
  parent.port = 4000;
  return parent;
}

TEST(DownloadRecorder, TellsWhereThePiecesCameFrom) {
  DownloadRecorder recorder("http://user:secret@origin/file?signature=secret", "me");
  recorder.Scheduled("10.0.0.9:8002", absl::Milliseconds(7), CandidateParents{{Parent("a", "host-a")}});
  recorder.PieceDone(Record(0, "a"));
  recorder.PieceDone(Record(1, "a", absl::Milliseconds(30)));
  recorder.PieceFailed("a");
  recorder.PieceDone(Record(2, ""));
  recorder.Causes({"parent 10.0.0.1:4000: piece 3: gone"});
  recorder.Ended(absl::OkStatus());

  const DownloadStory story = recorder.Story(/*with_pieces=*/true);
  EXPECT_EQ(story.url, "http://origin/file");
  EXPECT_EQ(story.scheduler, "10.0.0.9:8002");
  EXPECT_EQ(story.scheduler_wait, absl::Milliseconds(7));
  ASSERT_EQ(story.sources.size(), 2u);
  EXPECT_EQ(story.sources[0].host_id, "host-a");
  EXPECT_EQ(story.sources[0].address, "10.0.0.1:4000");
  EXPECT_TRUE(story.sources[0].offered);
  EXPECT_EQ(story.sources[0].pieces, 2u);
  EXPECT_EQ(story.sources[0].bytes, 200u);
  EXPECT_EQ(story.sources[0].cost, absl::Milliseconds(35));
  EXPECT_EQ(story.sources[0].max_cost, absl::Milliseconds(30));
  EXPECT_EQ(story.sources[0].failures, 1u);
  EXPECT_EQ(story.sources[1].peer_id, "");
  EXPECT_EQ(story.sources[1].pieces, 1u);
  ASSERT_EQ(story.pieces.size(), 3u);
  EXPECT_EQ(story.pieces[2].number, 2u);
  EXPECT_EQ(story.pieces[2].source, 1u);
  ASSERT_TRUE(story.first_piece.has_value());
  EXPECT_LE(*story.first_asked, *story.first_piece);
  EXPECT_THAT(story.causes, ElementsAre(HasSubstr("piece 3")));
  EXPECT_FALSE(story.running);
  EXPECT_TRUE(recorder.Story(/*with_pieces=*/false).pieces.empty());
}

TEST(DownloadRecorder, TellsWhatTheSchedulerAnswered) {
  DownloadRecorder recorder("http://o/f", "me");
  recorder.Scheduled("s:1", absl::Milliseconds(1), NeedBackToSource{.description = "no peer has it"});
  recorder.Scheduled("s:1", absl::Seconds(5), absl::DeadlineExceededError("too late"));
  const DownloadStory story = recorder.Story(true);
  ASSERT_EQ(story.events.size(), 2u);
  EXPECT_THAT(story.events[0].text, HasSubstr("no peer has it"));
  EXPECT_THAT(story.events[1].text, HasSubstr("too late"));
  EXPECT_EQ(story.events[1].waited, absl::Seconds(5));
  EXPECT_EQ(story.scheduler_wait, absl::Milliseconds(5001));
  EXPECT_TRUE(story.running);
}

TEST(DownloadRecorder, KeepsTheFirstEnd) {
  DownloadRecorder recorder("http://o/f", "me");
  recorder.Ended(absl::CancelledError("deleted"));
  recorder.Ended(absl::OkStatus());
  EXPECT_EQ(recorder.Story(false).outcome, absl::CancelledError("deleted"));
}

TEST(DownloadRecorder, CountsWhatItDoesNotKeep) {
  DownloadRecorder recorder("http://o/f", "me");
  constexpr uint32_t kPieces = DownloadRecorder::kPiecesMax + 10;
  for (uint32_t number = 0; number < kPieces; ++number)
    recorder.PieceDone(Record(number, "parent-" + std::to_string(number)));
  for (size_t i = 0; i < 2 * DownloadRecorder::kEventsMax; ++i) recorder.Happened("again");
  const DownloadStory story = recorder.Story(true);
  EXPECT_EQ(story.pieces.size(), DownloadRecorder::kPiecesMax);
  EXPECT_EQ(story.pieces_not_kept, 10u);
  EXPECT_EQ(story.events.size(), DownloadRecorder::kEventsMax);
  ASSERT_EQ(story.sources.size(), DownloadRecorder::kSourcesMax);
  EXPECT_EQ(story.sources.back().peer_id, "others");
  uint64_t pieces = 0;
  for (const DownloadStory::Source& source : story.sources) pieces += source.pieces;
  EXPECT_EQ(pieces, kPieces);
}

TEST(TaskHistory, FindsTheLastDownloadFirst) {
  TaskHistory history;
  history.Begin(Id(1), "http://o/a", "first");
  history.Begin(Id(2), "http://o/b", "other");
  history.Begin(Id(1), "http://o/a", "second");
  const auto found = history.Find(Id(1));
  ASSERT_EQ(found.size(), 2u);
  EXPECT_EQ(found[0]->Story(false).peer_id, "second");
  EXPECT_EQ(found[1]->Story(false).peer_id, "first");
  EXPECT_TRUE(history.Find(Id(3)).empty());
}

TEST(TaskHistory, TellsTheLatestOfEachTaskAndAllTraffic) {
  TaskHistory history;
  history.Begin(Id(1), "http://o/a", "first")->PieceDone(Record(0, "p"));
  history.Begin(Id(2), "http://o/b", "other")->PieceDone(Record(0, ""));
  history.Begin(Id(1), "http://o/a", "second")->PieceDone(Record(1, "p"));
  const auto latest = history.Latest(5);
  ASSERT_EQ(latest.size(), 2u);
  EXPECT_EQ(latest[0].first, Id(1).str());
  EXPECT_EQ(latest[0].second.peer_id, "second");
  EXPECT_EQ(latest[1].second.peer_id, "other");
  EXPECT_EQ(history.Latest(1).size(), 1u);
  EXPECT_EQ(history.traffic().from_peers, 200u);
  EXPECT_EQ(history.traffic().from_origins, 100u);
}

TEST(TaskHistory, ForgetsTheOldest) {
  TaskHistory history;
  for (size_t i = 0; i < TaskHistory::kDownloadsMax + 3; ++i) history.Begin(Id(0), "http://o/f", std::to_string(i));
  const auto downloads = history.Find(Id(0));
  ASSERT_EQ(downloads.size(), TaskHistory::kDownloadsMax);
  EXPECT_EQ(downloads.back()->Story(false).peer_id, "3");
  for (size_t i = 1; i <= TaskHistory::kTasksMax; ++i) history.Begin(Id(static_cast<int>(i)), "http://o/f", "p");
  EXPECT_TRUE(history.Find(Id(0)).empty());
  EXPECT_EQ(history.Find(Id(1)).size(), 1u);
}

TEST(TaskHistory, GivesUpRowsOfOldDownloadsRatherThanMemory) {
  TaskHistory history;
  constexpr size_t kFull = TaskHistory::kPieceRowsMax / DownloadRecorder::kPiecesMax;
  for (size_t i = 0; i <= kFull; ++i) {
    const auto recorder = history.Begin(Id(static_cast<int>(i)), "http://o/f", "p");
    for (uint32_t number = 0; number < DownloadRecorder::kPiecesMax; ++number) recorder->PieceDone(Record(number, ""));
  }
  history.Begin(Id(1000), "http://o/f", "p");
  const DownloadStory oldest = history.Find(Id(0)).front()->Story(true);
  EXPECT_TRUE(oldest.pieces.empty());
  EXPECT_EQ(oldest.pieces_not_kept, DownloadRecorder::kPiecesMax);
  EXPECT_EQ(oldest.sources.front().pieces, DownloadRecorder::kPiecesMax);
  EXPECT_EQ(history.Find(Id(kFull)).front()->Story(true).pieces.size(), DownloadRecorder::kPiecesMax);
}

TEST(TaskHistory, IsWrittenAndReadByManyThreads) {
  TaskHistory history;
  std::vector<std::thread> threads;
  for (int thread = 0; thread < 4; ++thread) {
    threads.emplace_back([&history, thread] {
      for (int i = 0; i < 50; ++i) {
        const auto recorder = history.Begin(Id(i), "http://o/f", std::to_string(thread));
        for (uint32_t number = 0; number < 20; ++number) recorder->PieceDone(Record(number, "p"));
        for (const auto& download : history.Find(Id(i))) EXPECT_LE(download->Story(true).pieces.size(), 20u);
      }
    });
  }
  for (std::thread& thread : threads) thread.join();
  EXPECT_EQ(history.Find(Id(0)).size(), 4u);
}

}  // namespace
}  // namespace dragonfly::daemon
