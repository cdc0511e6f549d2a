// SPDX-License-Identifier: Apache-2.0
// Downloads that are answered by the own store and by the origin.
#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <boost/asio/bind_cancellation_slot.hpp>
#include <boost/asio/cancellation_signal.hpp>
#include <boost/asio/post.hpp>
#include <functional>
#include <tuple>

#include "base/backend_error.h"
#include "base/digest.h"
#include "base/status.h"
#include "runtime/timeout.h"
#include "tests/unit/daemon/test_peer.h"

namespace dragonfly::daemon {
namespace {

using storage::TrafficType;
using ::testing::HasSubstr;

common::v2::Download Wanting(const std::string& url) {
  common::v2::Download download;
  download.set_url(url);
  download.set_piece_length(kTestPieceLength);
  return download;
}

class OriginDownload : public ::testing::Test {
 protected:
  runtime::IoThreads io_{2};
  TestPeer peer_{io_, "peer"};
};

TEST_F(OriginDownload, FetchesAColdFileOnceAndServesItFromTheStoreAfterwards) {
  ScriptedOrigin origin(TestContent(10 * kTestPieceLength + 5));
  const auto wire = Wanting(origin.Url());
  RecordingObserver cold;
  ASSERT_TRUE(peer_.Download(wire, cold).ok());
  const TaskId id = *TaskManager::IdOf(wire);
  EXPECT_EQ(peer_.BytesOf(id), origin.content());
  EXPECT_EQ(cold.started->content_length, origin.content().size());
  EXPECT_EQ(cold.started->task_id, id);
  EXPECT_FALSE(cold.started->complete);
  EXPECT_EQ(cold.pieces.size(), 11u);
  EXPECT_EQ(cold.BytesFrom(TrafficType::kBackToSource), origin.content().size());
  EXPECT_EQ(origin.bytes_read(), origin.content().size());
  EXPECT_EQ(origin.stats(), 1);
  EXPECT_TRUE(peer_.link.Await("back to source finished 11 655365"));

  RecordingObserver warm;
  ASSERT_TRUE(peer_.Download(wire, warm).ok());
  EXPECT_TRUE(warm.started->complete);
  EXPECT_EQ(warm.BytesFrom(TrafficType::kLocalPeer), origin.content().size());
  EXPECT_EQ(origin.bytes_read(), origin.content().size()) << "a complete task is not read again";
  EXPECT_EQ(peer_.link.CountOf("register"), 1);
}

TEST_F(OriginDownload, ReadsManyPiecesWithFewRequests) {
  ScriptedOrigin origin(TestContent(256 * kTestPieceLength));
  ASSERT_TRUE(peer_.Download(Wanting(origin.Url())).ok());
  EXPECT_EQ(origin.reads_of_any_byte(), 1);
  EXPECT_LT(origin.reads(), 128);
}

TEST_F(OriginDownload, ReadsTheWholeBodyWhereRangesAreNotTaken) {
  ScriptedOrigin::Behaviour behaviour;
  behaviour.takes_ranges = false;
  ScriptedOrigin origin(TestContent(5 * kTestPieceLength + 1), behaviour);
  const auto wire = Wanting(origin.Url());
  ASSERT_TRUE(peer_.Download(wire).ok());
  EXPECT_EQ(peer_.BytesOf(*TaskManager::IdOf(wire)), origin.content());
}

TEST_F(OriginDownload, SurvivesAnOriginThatTakesTheRangeOfTheStatOnly) {
  ScriptedOrigin origin(TestContent(5 * kTestPieceLength + 1));
  const auto wire = Wanting(origin.Url());
  origin.HoldFrom(0);
  RecordingObserver observer;
  ScriptedOrigin::Behaviour behaviour;
  behaviour.takes_ranges = false;
  behaviour.stat_takes_ranges = true;
  // The stat is answered before the download begins to read.
  peer_.link.Set({NeedBackToSource{"told so"}});
  auto running = peer_.Begin(wire, observer);
  ASSERT_TRUE(peer_.link.Await("register"));
  origin.Set(behaviour);
  origin.Release();
  ASSERT_TRUE(running.get().ok());
  EXPECT_EQ(peer_.BytesOf(*TaskManager::IdOf(wire)), origin.content());
}

TEST_F(OriginDownload, TakesAnUnknownLengthAsItComes) {
  for (const size_t size : {size_t{0}, size_t{1}, size_t{3 * kTestPieceLength}, size_t{3 * kTestPieceLength + 7}}) {
    ScriptedOrigin::Behaviour behaviour;
    behaviour.takes_ranges = false;
    behaviour.tells_length = false;
    ScriptedOrigin origin(TestContent(size), behaviour);
    const auto wire = Wanting(origin.Url());
    RecordingObserver observer;
    const absl::Status status = peer_.Download(wire, observer);
    ASSERT_TRUE(status.ok()) << status << " for " << size;
    EXPECT_EQ(peer_.BytesOf(*TaskManager::IdOf(wire)), origin.content());
    EXPECT_EQ(observer.pieces.size(), (size + kTestPieceLength - 1) / kTestPieceLength);
    RecordingObserver warm;
    ASSERT_TRUE(peer_.Download(wire, warm).ok());
    EXPECT_EQ(warm.started->content_length, size);
  }
}

TEST_F(OriginDownload, AnEmptyFileEndsAtOnce) {
  ScriptedOrigin origin("");
  const auto wire = Wanting(origin.Url());
  RecordingObserver observer;
  const absl::Status status = peer_.Download(wire, observer);
  ASSERT_TRUE(status.ok()) << status;
  EXPECT_EQ(observer.started->content_length, 0u);
  EXPECT_TRUE(observer.pieces.empty());
  EXPECT_EQ(peer_.link.CountOf("register"), 0);
}

TEST_F(OriginDownload, ARangeFetchesItsPiecesAndNoMore) {
  ScriptedOrigin origin(TestContent(20 * kTestPieceLength));
  auto wire = Wanting(origin.Url());
  wire.mutable_range()->set_start(5 * kTestPieceLength + 10);
  wire.mutable_range()->set_length(2 * kTestPieceLength);
  RecordingObserver observer;
  ASSERT_TRUE(peer_.Download(wire, observer).ok());
  EXPECT_EQ(observer.pieces.size(), 3u);
  EXPECT_EQ(origin.bytes_read(), 3 * kTestPieceLength);
  EXPECT_EQ(peer_.link.registration().range().start(), 5 * kTestPieceLength);
  EXPECT_EQ(peer_.link.registration().range().length(), 3 * kTestPieceLength);

  RecordingObserver again;
  ASSERT_TRUE(peer_.Download(wire, again).ok());
  EXPECT_TRUE(again.started->complete) << "the range is here";
  EXPECT_EQ(origin.bytes_read(), 3 * kTestPieceLength);

  // The rest of the file takes only what is missing.
  wire.clear_range();
  RecordingObserver whole;
  ASSERT_TRUE(peer_.Download(wire, whole).ok());
  EXPECT_EQ(whole.BytesFrom(TrafficType::kLocalPeer), 3 * kTestPieceLength);
  EXPECT_EQ(origin.reads_of_any_byte(), 1);
}

TEST_F(OriginDownload, ARangeHeaderIsAsGoodAsTheField) {
  ScriptedOrigin origin(TestContent(4 * kTestPieceLength));
  auto wire = Wanting(origin.Url());
  (*wire.mutable_request_header())["Range"] = "bytes=-10";
  RecordingObserver observer;
  ASSERT_TRUE(peer_.Download(wire, observer).ok());
  EXPECT_EQ(observer.started->range, (ByteRange{4 * kTestPieceLength - 10, 10}));
  EXPECT_EQ(observer.pieces.size(), 1u);

  (*wire.mutable_request_header())["Range"] = "bytes=999999999-";
  EXPECT_TRUE(absl::IsFailedPrecondition(peer_.Download(wire)));
}

TEST_F(OriginDownload, TheOriginsRefusalReachesTheCallerWhole) {
  ScriptedOrigin::Behaviour behaviour;
  behaviour.status = 404;
  ScriptedOrigin origin(TestContent(10), behaviour);
  const absl::Status status = peer_.Download(Wanting(origin.Url()));
  EXPECT_TRUE(absl::IsInternal(status)) << status;
  const std::optional<BackendError> error = GetBackendError(status);
  ASSERT_TRUE(error);
  EXPECT_EQ(error->status_code, 404);
  EXPECT_EQ(error->header.at("x-reason"), "told so");
}

TEST_F(OriginDownload, ARefusalOnTheWayKeepsItsDetailsAndNamesWhatFailedBefore) {
  ScriptedOrigin::Behaviour behaviour;
  behaviour.read_status = 403;
  ScriptedOrigin origin(TestContent(3 * kTestPieceLength), behaviour);
  peer_.link.SetUnreachable(true);
  const absl::Status status = peer_.Download(Wanting(origin.Url()));
  const std::optional<BackendError> error = GetBackendError(status);
  ASSERT_TRUE(error) << status;
  EXPECT_EQ(error->status_code, 403);
  EXPECT_EQ(error->header.at("x-reason"), "told so");
  EXPECT_THAT(std::string(MessageOf(status)), HasSubstr("backend error 403"));
  EXPECT_THAT(std::string(MessageOf(status)), HasSubstr("before: scheduler: no scheduler can be reached"));
}

TEST_F(OriginDownload, ARangeBehindTheEndIsRefused) {
  ScriptedOrigin origin(TestContent(10));
  auto wire = Wanting(origin.Url());
  wire.mutable_range()->set_start(10);
  wire.mutable_range()->set_length(1);
  for (int round = 0; round < 2; ++round) {  // of an unknown task, then of one that is here
    const absl::Status status = peer_.Download(wire);
    EXPECT_TRUE(absl::IsFailedPrecondition(status)) << status;
    EXPECT_THAT(std::string(MessageOf(status)), HasSubstr("behind the end of the file of 10 bytes"));
    ASSERT_TRUE(peer_.Download(Wanting(origin.Url())).ok());
  }
}

TEST_F(OriginDownload, ARangeReservesItsPiecesOnly) {
  ScriptedOrigin origin(TestContent(64 * kTestPieceLength));
  origin.HoldFrom(0);
  auto wire = Wanting(origin.Url());
  (*wire.mutable_request_header())["Range"] = "bytes=" + std::to_string(62 * kTestPieceLength) + "-";
  RecordingObserver observer;
  auto running = peer_.Begin(wire, observer);
  ASSERT_TRUE(origin.AwaitHeld());
  EXPECT_LE(peer_.store().usage().reserved_bytes, 2 * kTestPieceLength);
  // Who wants more gets more reserved.
  RecordingObserver whole;
  auto second = peer_.Begin(Wanting(origin.Url()), whole);
  origin.Release();
  ASSERT_TRUE(running.get().ok());
  ASSERT_TRUE(second.get().ok());
  EXPECT_EQ(observer.started->range, (ByteRange{62 * kTestPieceLength, 2 * kTestPieceLength}));
  EXPECT_EQ(observer.pieces.size(), 2u);
  EXPECT_EQ(peer_.store().usage().reserved_bytes, 0u);
}

TEST_F(OriginDownload, GivesUpWhenTheCallersTimeIsOver) {
  ScriptedOrigin origin(TestContent(3 * kTestPieceLength));
  origin.HoldFrom(0);
  auto wire = Wanting(origin.Url());
  wire.mutable_timeout()->set_nanos(200'000'000);
  const absl::Status status = peer_.Download(wire);
  EXPECT_TRUE(absl::IsDeadlineExceeded(status)) << status;
  origin.Release();
  wire.mutable_timeout()->set_seconds(3600);
  EXPECT_TRUE(peer_.Download(wire).ok());
}

TEST_F(OriginDownload, ReadsAsManyRangesAtOnceAsTheCallerSays) {
  ScriptedOrigin origin(TestContent(64 * kTestPieceLength));
  origin.HoldFrom(0);
  auto wire = Wanting(origin.Url());
  wire.set_concurrent_piece_count(1);
  RecordingObserver observer;
  auto running = peer_.Begin(wire, observer);
  ASSERT_TRUE(origin.AwaitHeld());
  EXPECT_EQ(origin.reads(), 1);
  origin.Release();
  EXPECT_TRUE(running.get().ok());
}

TEST_F(OriginDownload, SixtyFourCallersShareOneDownload) {
  ScriptedOrigin origin(TestContent(40 * kTestPieceLength));
  origin.HoldFrom(kTestPieceLength);
  const auto wire = Wanting(origin.Url());
  std::vector<RecordingObserver> observers(64);
  std::vector<std::future<absl::Status>> running;
  for (auto& observer : observers) running.push_back(peer_.Begin(wire, observer));
  // Who comes when it has ended asks the origin whether the file is still the same.
  for (auto& observer : observers) ASSERT_TRUE(observer.AwaitStarted());
  origin.Release();
  for (auto& status : running) ASSERT_TRUE(status.get().ok());
  for (const auto& observer : observers) EXPECT_EQ(observer.pieces.size(), 40u);
  EXPECT_EQ(origin.bytes_read(), origin.content().size());
  EXPECT_EQ(origin.stats(), 1);
  EXPECT_EQ(peer_.link.CountOf("register"), 1);
}

TEST_F(OriginDownload, ARangeAndTheWholeFileShareWhatTheyHaveInCommon) {
  ScriptedOrigin origin(TestContent(40 * kTestPieceLength));
  origin.HoldFrom(3 * kTestPieceLength);
  auto range = Wanting(origin.Url());
  range.mutable_range()->set_start(0);
  range.mutable_range()->set_length(10 * kTestPieceLength);
  RecordingObserver of_range;
  RecordingObserver of_whole;
  auto first = peer_.Begin(range, of_range);
  ASSERT_TRUE(origin.AwaitHeld());
  auto second = peer_.Begin(Wanting(origin.Url()), of_whole);
  origin.Release();
  ASSERT_TRUE(first.get().ok());
  ASSERT_TRUE(second.get().ok());
  EXPECT_EQ(of_range.pieces.size(), 10u);
  EXPECT_EQ(of_whole.pieces.size(), 40u);
  EXPECT_EQ(origin.reads_of_any_byte(), 1);
}

TEST_F(OriginDownload, KeepsFinishedPiecesOverARestart) {
  ScriptedOrigin origin(TestContent(20 * kTestPieceLength));
  auto wire = Wanting(origin.Url());
  wire.mutable_range()->set_start(0);
  wire.mutable_range()->set_length(10 * kTestPieceLength);
  ASSERT_TRUE(peer_.Download(wire).ok());
  peer_.Stop();
  peer_.Start();
  wire.clear_range();
  RecordingObserver observer;
  ASSERT_TRUE(peer_.Download(wire, observer).ok());
  EXPECT_EQ(observer.BytesFrom(TrafficType::kLocalPeer), 10 * kTestPieceLength);
  EXPECT_EQ(observer.BytesFrom(TrafficType::kBackToSource), 10 * kTestPieceLength);
  EXPECT_EQ(origin.reads_of_any_byte(), 1);
  EXPECT_EQ(peer_.BytesOf(*TaskManager::IdOf(wire)), origin.content());
}

TEST_F(OriginDownload, GivesUpPiecesOfAnotherVersion) {
  ScriptedOrigin origin(TestContent(20 * kTestPieceLength));
  auto wire = Wanting(origin.Url());
  wire.mutable_range()->set_start(0);
  wire.mutable_range()->set_length(10 * kTestPieceLength);
  ASSERT_TRUE(peer_.Download(wire).ok());
  // With this report the download has ended, and nobody can join it any more.
  ASSERT_TRUE(peer_.link.Await("back to source finished"));
  ScriptedOrigin::Behaviour behaviour;
  behaviour.etag = "\"v2\"";
  origin.Set(behaviour);
  wire.clear_range();
  RecordingObserver observer;
  ASSERT_TRUE(peer_.Download(wire, observer).ok());
  EXPECT_EQ(observer.BytesFrom(TrafficType::kBackToSource), 20 * kTestPieceLength);
}

TEST_F(OriginDownload, GoesOnWithoutAScheduler) {
  peer_.link.SetUnreachable(true);
  ScriptedOrigin origin(TestContent(3 * kTestPieceLength));
  const auto wire = Wanting(origin.Url());
  ASSERT_TRUE(peer_.Download(wire).ok());
  EXPECT_EQ(peer_.BytesOf(*TaskManager::IdOf(wire)), origin.content());
}

TEST_F(OriginDownload, FetchesWhatTheSchedulerTakesForEmpty) {
  peer_.link.Set({EmptyTask()});
  ScriptedOrigin origin(TestContent(3 * kTestPieceLength));
  const auto wire = Wanting(origin.Url());
  ASSERT_TRUE(peer_.Download(wire).ok());
  EXPECT_EQ(peer_.BytesOf(*TaskManager::IdOf(wire)), origin.content());
}

TEST_F(OriginDownload, NeverGoesToTheOriginWhenThatIsDisabled) {
  ScriptedOrigin origin(TestContent(3 * kTestPieceLength));
  auto wire = Wanting(origin.Url());
  wire.set_disable_back_to_source(true);
  const absl::Status status = peer_.Download(wire);
  EXPECT_FALSE(status.ok());
  EXPECT_THAT(std::string(MessageOf(status)), HasSubstr("back to source is disabled"));
  EXPECT_THAT(std::string(MessageOf(status)), HasSubstr("told so"));
  EXPECT_EQ(origin.reads(), 0);
  peer_.link.SetUnreachable(true);
  EXPECT_THAT(std::string(MessageOf(peer_.Download(wire))), HasSubstr("no scheduler can be reached"));
  EXPECT_EQ(origin.reads(), 0);
  // A seed that its scheduler sends to the origin goes there.
  wire.set_need_back_to_source(true);
  peer_.link.SetUnreachable(false);
  EXPECT_TRUE(peer_.Download(wire).ok());
}

TEST_F(OriginDownload, ACallerThatLeavesTakesTheDownloadWithItUnlessOthersWantIt) {
  ScriptedOrigin origin(TestContent(40 * kTestPieceLength));
  origin.HoldFrom(kTestPieceLength);
  const auto wire = Wanting(origin.Url());
  const TaskId id = *TaskManager::IdOf(wire);
  RecordingObserver leaving;
  RecordingObserver staying;
  boost::asio::cancellation_signal cancel;
  boost::asio::io_context& context = io_.Next();
  auto left = boost::asio::co_spawn(context, peer_.tasks().Download(TestPeer::RequestOf(wire, true), leaving),
                                    boost::asio::bind_cancellation_slot(cancel.slot(), boost::asio::use_future));
  ASSERT_TRUE(origin.AwaitHeld());
  auto stayed = peer_.Begin(wire, staying);
  ASSERT_TRUE(peer_.tasks().Running(id));
  const auto leave = [&] {
    std::promise<void> sent;
    boost::asio::post(context, [&] {
      cancel.emit(boost::asio::cancellation_type::terminal);
      sent.set_value();
    });
    sent.get_future().wait();
    EXPECT_ANY_THROW(std::ignore = left.get());
  };
  leave();
  origin.Release();
  EXPECT_TRUE(stayed.get().ok());
  EXPECT_EQ(staying.pieces.size(), 40u);
}

TEST_F(OriginDownload, NobodysDownloadStops) {
  ScriptedOrigin origin(TestContent(40 * kTestPieceLength));
  origin.HoldFrom(kTestPieceLength);
  const auto wire = Wanting(origin.Url());
  RecordingObserver leaving;
  boost::asio::cancellation_signal cancel;
  boost::asio::io_context& context = io_.Next();
  auto left = boost::asio::co_spawn(context, peer_.tasks().Download(TestPeer::RequestOf(wire, true), leaving),
                                    boost::asio::bind_cancellation_slot(cancel.slot(), boost::asio::use_future));
  ASSERT_TRUE(origin.AwaitHeld());
  boost::asio::post(context, [&] { cancel.emit(boost::asio::cancellation_type::terminal); });
  EXPECT_ANY_THROW(std::ignore = left.get());
  EXPECT_TRUE(peer_.link.Await("peer failed: the download was cancelled"));
  origin.Release();
  // The next caller begins where the first has left, and nothing of the first is in its way.
  RecordingObserver next;
  EXPECT_TRUE(peer_.Download(wire, next).ok());
  EXPECT_EQ(peer_.BytesOf(*TaskManager::IdOf(wire)), origin.content());
}

TEST_F(OriginDownload, DeletingEndsTheDownloadAndTheContent) {
  ScriptedOrigin origin(TestContent(40 * kTestPieceLength));
  origin.HoldFrom(kTestPieceLength);
  const auto wire = Wanting(origin.Url());
  const TaskId id = *TaskManager::IdOf(wire);
  RecordingObserver observer;
  auto running = peer_.Begin(wire, observer);
  ASSERT_TRUE(origin.AwaitHeld());
  EXPECT_TRUE(RunOn(io_, peer_.tasks().Delete(id)).ok());
  EXPECT_TRUE(absl::IsCancelled(running.get()));
  EXPECT_EQ(peer_.store().Find(id), nullptr);
  EXPECT_TRUE(absl::IsNotFound(RunOn(io_, peer_.tasks().Delete(id))));
  origin.Release();
}

TEST_F(OriginDownload, MakesTheOutput) {
  ScriptedOrigin origin(TestContent(3 * kTestPieceLength + 3));
  const testing::TempDir out;
  auto wire = Wanting(origin.Url());
  wire.set_output_path((out.path() / "file").string());
  ASSERT_TRUE(peer_.Download(wire).ok());
  EXPECT_EQ(ReadFile((out.path() / "file").string()), origin.content());
  EXPECT_TRUE(peer_.Download(wire).ok()) << "the same file is no other file";

  wire.set_output_path((out.path() / "other").string());
  std::ofstream((out.path() / "other").string()) << "mine";
  const absl::Status status = peer_.Download(wire);
  EXPECT_THAT(std::string(MessageOf(status)), HasSubstr("is already exists"));
  EXPECT_EQ(ReadFile((out.path() / "other").string()), "mine");
  wire.set_overwrite(true);
  EXPECT_TRUE(peer_.Download(wire).ok());
  EXPECT_EQ(ReadFile((out.path() / "other").string()), origin.content());

  wire.set_output_path((out.path() / "part").string());
  wire.mutable_range()->set_start(10);
  wire.mutable_range()->set_length(100);
  EXPECT_TRUE(peer_.Download(wire).ok());
  EXPECT_EQ(ReadFile((out.path() / "part").string()), origin.content().substr(10, 100));
  wire.set_force_hard_link(true);
  const absl::Status no_link = peer_.Download(wire);
  EXPECT_TRUE(absl::IsInvalidArgument(no_link)) << no_link;
  EXPECT_THAT(std::string(MessageOf(no_link)), HasSubstr("force_hard_link"));
}

TEST_F(OriginDownload, AWrongDigestMakesNoOutput) {
  ScriptedOrigin origin(TestContent(3 * kTestPieceLength));
  const testing::TempDir out;
  auto wire = Wanting(origin.Url());
  wire.set_output_path((out.path() / "file").string());
  wire.set_digest("sha256:" + std::string(64, 'a'));
  const absl::Status status = peer_.Download(wire);
  EXPECT_EQ(MessageOf(status), "digest mismatch expected: sha256:" + std::string(64, 'a') +
                                   ", actual: sha256:" + Sha256Hex(origin.content()));
  EXPECT_FALSE(std::filesystem::exists((out.path() / "file").string()));
  EXPECT_EQ(peer_.store().Find(*TaskManager::IdOf(wire)), nullptr) << "a wrong content is given to nobody";
  EXPECT_EQ(peer_.link.CountOf("delete task " + TaskManager::IdOf(wire)->str()), 1);
  wire.set_digest("sha256:" + Sha256Hex(origin.content()));
  EXPECT_TRUE(peer_.Download(wire).ok());
  EXPECT_EQ(ReadFile((out.path() / "file").string()), origin.content());
}

TEST_F(OriginDownload, RefusesBadRequestsByTheNameOfTheField) {
  ScriptedOrigin origin(TestContent(10));
  struct Case {
    const char* field;
    std::function<void(common::v2::Download&)> spoil;
    bool local = true;
  };
  const Case cases[] = {
      {"range", [](auto& d) { d.mutable_range()->set_start(1); }},
      {"piece_length", [](auto& d) { d.set_piece_length(1); }},
      {"piece_length", [](auto& d) { d.set_piece_length(uint64_t{1} << 60); }},
      {"output_path", [](auto& d) { d.set_output_path("relative/path"); }},
      {"output_path", [](auto& d) { d.set_output_path("/tmp/x"); }, false},
      {"digest", [](auto& d) { d.set_digest("sha256:xyz"); }},
      {"", [](auto& d) { d.set_url("not a url"); }},
      {"", [](auto& d) { d.set_url(""); }},
  };
  for (const Case& bad : cases) {
    auto wire = Wanting(origin.Url());
    bad.spoil(wire);
    RecordingObserver observer;
    const absl::Status status = peer_.Download(wire, observer, bad.local);
    EXPECT_TRUE(absl::IsInvalidArgument(status)) << status;
    EXPECT_THAT(std::string(MessageOf(status)), HasSubstr(bad.field));
  }
  EXPECT_EQ(origin.stats(), 0);
}

TEST_F(OriginDownload, OnePrefetchBringsTheRestOfTheFile) {
  ScriptedOrigin origin(TestContent(10 * kTestPieceLength));
  origin.HoldFrom(kTestPieceLength);
  auto wire = Wanting(origin.Url());
  wire.mutable_range()->set_start(0);
  wire.mutable_range()->set_length(1);
  wire.set_prefetch(true);
  ASSERT_TRUE(peer_.Download(wire).ok());
  ASSERT_TRUE(peer_.Download(wire).ok()) << "while the prefetch runs";
  origin.Release();
  wire.clear_range();
  wire.set_prefetch(false);
  RecordingObserver whole;
  ASSERT_TRUE(peer_.Download(wire, whole).ok());
  EXPECT_EQ(origin.reads_of_any_byte(), 1);
  EXPECT_THAT(peer_.metrics.Render(), HasSubstr("dragonfly_client_prefetch_task_total{app=\"\",priority=\"0\",tag=\"\","
                                                "type=\"0\"} 1\n"));
}

TEST_F(OriginDownload, APrefetchThatFailedMayBeTriedAgain) {
  ScriptedOrigin origin(TestContent(10 * kTestPieceLength));
  auto wire = Wanting(origin.Url());
  ASSERT_TRUE(peer_
                  .Download([&] {
                    auto first = wire;
                    first.mutable_range()->set_length(1);
                    return first;
                  }())
                  .ok());
  ScriptedOrigin::Behaviour refusing;
  refusing.read_status = 403;
  origin.Set(refusing);
  wire.mutable_range()->set_length(1);
  wire.set_prefetch(true);
  const std::string counter =
      "dragonfly_client_prefetch_task_failure_total{app=\"\",priority=\"0\",tag=\"\",type=\"0\"} ";
  for (int round = 1; round <= 2; ++round) {
    ASSERT_TRUE(peer_.Download(wire).ok());
    const std::string failures = counter + std::to_string(round) + "\n";
    const TimePoint deadline = Clock::now() + kTestPatience;
    while (peer_.metrics.Render().find(failures) == std::string::npos) {
      ASSERT_LT(Clock::now(), deadline) << peer_.metrics.Render();
      RunOn(io_, runtime::SleepUntil(Clock::now() + std::chrono::milliseconds(1)));
    }
  }
}

TEST_F(OriginDownload, OnlyAPrefetchCountsAgainstTheBandwidthOfPrefetches) {
  constexpr uint64_t kLength = 3 * kTestPieceLength;
  ScriptedOrigin awaited(TestContent(kLength));
  ScriptedOrigin prefetched(TestContent(kLength));
  ASSERT_TRUE(peer_.Download(Wanting(awaited.Url())).ok());
  auto wire = Wanting(prefetched.Url());
  wire.set_is_prefetch(true);
  ASSERT_TRUE(peer_.Download(wire).ok());
  // The last bytes are booked after they have been handed over: when everything has ended they are.
  peer_.Stop();
  constexpr uint64_t kLeft = (1 << 30) - kLength;
  const TimePoint now = Clock::now();
  EXPECT_EQ(peer_.prefetch_bucket.ReserveWithin(kLeft + 1000, now, Clock::duration::zero()), std::nullopt);
  EXPECT_EQ(peer_.prefetch_bucket.ReserveWithin(kLeft, now, Clock::duration::zero()), Clock::duration::zero());
}

TEST(TaskManager, StopsInTheMiddleOfADownload) {
  runtime::IoThreads io(2);
  ScriptedOrigin origin(TestContent(40 * kTestPieceLength));
  origin.HoldFrom(kTestPieceLength);
  TestPeer peer(io, "peer");
  RecordingObserver observer;
  auto running = peer.Begin(Wanting(origin.Url()), observer);
  ASSERT_TRUE(origin.AwaitHeld());
  peer.Stop();
  EXPECT_TRUE(absl::IsCancelled(running.get()));
}

}  // namespace
}  // namespace dragonfly::daemon
