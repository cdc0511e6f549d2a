// SPDX-License-Identifier: Apache-2.0
// When what is on this host is used again, and when the origin is asked first.
#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <future>
#include <optional>
#include <thread>

#include "base/backend_error.h"
#include "base/digest.h"
#include "base/status.h"
#include "tests/unit/daemon/test_peer.h"

namespace dragonfly::daemon {
namespace {

using storage::TrafficType;
using ::testing::HasSubstr;
using Revalidate = DaemonConfig::Revalidate;

constexpr uint64_t kSize = 10 * kTestPieceLength + 5;

class Reuse : public ::testing::Test {
 protected:
  Reuse() {
    wire_.set_url(origin_->Url());
    wire_.set_piece_length(kTestPieceLength);
  }

  // The first download, which is no subject here.
  void Warm() {
    ASSERT_TRUE(peer_.Download(wire_).ok());
    ASSERT_TRUE(peer_.link.Await("back to source finished"));
    stats_ = origin_->stats();
    reads_ = origin_->reads();
  }
  // A download that finds everything here; it asked the origin `questions` times.
  void ExpectServedFromHere(int questions) {
    AwaitEnd();
    RecordingObserver observer;
    const absl::Status status = peer_.Download(wire_, observer);
    ASSERT_TRUE(status.ok()) << status;
    EXPECT_TRUE(observer.started->complete);
    EXPECT_EQ(observer.started->response_header.at("etag"), "\"v1\"") << "later callers get the headers, too";
    EXPECT_EQ(observer.BytesFrom(TrafficType::kLocalPeer), kSize);
    if (origin_) {
      EXPECT_EQ(origin_->stats() - stats_, questions);
      EXPECT_EQ(origin_->reads(), reads_);
      stats_ = origin_->stats();
    }
  }
  // A caller is done a moment before the download that it has joined; who comes in between joins it, too.
  void AwaitEnd() {
    const TimePoint deadline = Clock::now() + kTestPatience;
    while (peer_.tasks().Running(*TaskManager::IdOf(wire_))) {
      ASSERT_LT(Clock::now(), deadline);
      std::this_thread::yield();
    }
  }
  void SetEtag(const std::string& etag) {
    ScriptedOrigin::Behaviour behaviour;
    behaviour.etag = etag;
    origin_->Set(behaviour);
  }

  runtime::IoThreads io_{2};
  std::unique_ptr<ScriptedOrigin> origin_ = std::make_unique<ScriptedOrigin>(TestContent(kSize));
  TestPeer peer_{io_, "peer"};
  common::v2::Download wire_;
  int stats_ = 0;
  int reads_ = 0;
};

TEST_F(Reuse, AnOutputThatCannotBeMadeIsRefusedBeforeTheOriginIsAsked) {
  const testing::TempDir outputs;
  outputs.Write("mine", "mine");
  const std::string mine = outputs.path() / "mine";
  for (const std::string& path : {mine, (outputs.path() / "nowhere/file").string()}) {
    wire_.set_output_path(path);
    RecordingObserver observer;
    const absl::Status refused = peer_.Download(wire_, observer);
    EXPECT_EQ(refused.code(), path == mine ? absl::StatusCode::kAlreadyExists : absl::StatusCode::kNotFound) << refused;
    EXPECT_THAT(std::string(refused.message()), ::testing::HasSubstr(path));
    EXPECT_FALSE(observer.started);
  }
  EXPECT_EQ(origin_->stats(), 0);
  EXPECT_EQ(origin_->reads(), 0);
  EXPECT_EQ(ReadFile(mine), "mine");

  // The content's own file may have the name already, and a range may not.
  wire_.set_output_path(outputs.path() / "linked");
  for (int i = 0; i < 2; ++i) EXPECT_TRUE(peer_.Download(wire_).ok()) << i;
  common::v2::Download part = wire_;
  part.mutable_range()->set_start(1);
  part.mutable_range()->set_length(2);
  EXPECT_TRUE(absl::IsAlreadyExists(peer_.Download(part)));
  wire_.set_output_path(mine);
  wire_.set_overwrite(true);
  EXPECT_TRUE(peer_.Download(wire_).ok());
  EXPECT_TRUE(ReadFile(mine) == TestContent(kSize));
}

TEST_F(Reuse, AlwaysAsksTheOriginFirst) {
  peer_.config.storage.revalidate = Revalidate::kAlways;
  Warm();
  ExpectServedFromHere(1);
  ExpectServedFromHere(1);
  EXPECT_EQ(peer_.link.CountOf("register"), 1);
}

TEST_F(Reuse, AnIntervalHoldsForItsTime) {
  peer_.config.storage.revalidate = Revalidate::kInterval;
  peer_.config.storage.revalidate_interval = absl::Hours(1);
  Warm();
  ExpectServedFromHere(0);
  peer_.config.storage.revalidate_interval = absl::ZeroDuration();
  ExpectServedFromHere(1);
}

TEST_F(Reuse, ARestartForgetsThatTheOriginHasConfirmed) {
  peer_.config.storage.revalidate = Revalidate::kInterval;
  peer_.config.storage.revalidate_interval = absl::Hours(1);
  Warm();
  peer_.Stop();
  peer_.Start();
  ExpectServedFromHere(1);
  ExpectServedFromHere(0);
}

TEST_F(Reuse, NeverAsksWhereThePolicySaysSo) {
  peer_.config.storage.revalidate = Revalidate::kNever;
  Warm();
  SetEtag("\"v2\"");
  ExpectServedFromHere(0);
}

TEST_F(Reuse, AChangedOriginIsDownloadedAnewAndNotFromPeersWithTheOldVersion) {
  Warm();
  SetEtag("\"v2\"");
  RecordingObserver observer;
  ASSERT_TRUE(peer_.Download(wire_, observer).ok());
  EXPECT_EQ(observer.BytesFrom(TrafficType::kBackToSource), kSize);
  EXPECT_EQ(observer.started->response_header.at("etag"), "\"v2\"");
  EXPECT_TRUE(peer_.link.registration().need_back_to_source());
  EXPECT_EQ(peer_.BytesOf(*TaskManager::IdOf(wire_)), origin_->content());
}

TEST_F(Reuse, AStrongTagOutweighsEverythingElseAndAWeakOneIsNone) {
  Warm();
  SetEtag("W/\"v1\"");
  AwaitEnd();
  RecordingObserver observer;
  ASSERT_TRUE(peer_.Download(wire_, observer).ok());
  EXPECT_TRUE(observer.started->complete) << "the length is the same, and nothing else can be compared";
}

TEST_F(Reuse, ACopyOutlivesItsOrigin) {
  Warm();
  origin_.reset();
  ExpectServedFromHere(0);
}

TEST_F(Reuse, AnOriginThatIsOutOfOrderDoesNotMatterButARefusalDoes) {
  Warm();
  ScriptedOrigin::Behaviour behaviour;
  behaviour.status = 503;
  origin_->Set(behaviour);
  ExpectServedFromHere(1);
  behaviour.status = 404;
  origin_->Set(behaviour);
  AwaitEnd();
  const absl::Status status = peer_.Download(wire_);
  ASSERT_TRUE(GetBackendError(status)) << status;
  EXPECT_EQ(GetBackendError(status)->status_code, 404);
  SetEtag("\"v1\"");
  stats_ = origin_->stats();
  ExpectServedFromHere(1);
}

TEST_F(Reuse, WhoForbidsTheOriginIsServedWithoutAsking) {
  Warm();
  wire_.set_disable_back_to_source(true);
  ExpectServedFromHere(0);
}

TEST_F(Reuse, ABlobOfARegistryCannotChange) {
  const std::string base = origin_->Url().substr(0, origin_->Url().rfind('/'));
  wire_.set_url(base + "/v2/library/busybox/blobs/sha256:" + std::string(64, 'b'));
  Warm();
  ExpectServedFromHere(0);
  wire_.set_enable_task_id_based_blob_digest(true);
  EXPECT_EQ(TaskManager::IdOf(wire_)->str(), std::string(64, 'b'));
  wire_.set_content_for_calculating_task_id("content");
  EXPECT_NE(TaskManager::IdOf(wire_)->str(), std::string(64, 'b'));
}

TEST_F(Reuse, AnOriginThatGivesOtherBytesUnderADigestLeavesNothingBehind) {
  const std::string base = origin_->Url().substr(0, origin_->Url().rfind('/'));
  wire_.set_enable_task_id_based_blob_digest(true);
  wire_.set_url(base + "/v2/library/busybox/blobs/sha256:" + std::string(64, 'b'));
  const absl::Status wrong = peer_.Download(wire_);
  EXPECT_THAT(wrong.ToString(), HasSubstr("digest mismatch expected: sha256:bbbb"));
  AwaitEnd();
  EXPECT_EQ(peer_.BytesOf(*TaskManager::IdOf(wire_)), "");
  auto range = wire_;
  range.mutable_range()->set_length(kTestPieceLength);
  EXPECT_TRUE(peer_.Download(range).ok()) << "a part of it cannot be checked";
  AwaitEnd();
  EXPECT_THAT(peer_.Download(wire_).ToString(), HasSubstr("digest mismatch"));

  wire_.set_url(base + "/v2/library/busybox/blobs/sha256:" + Sha256Hex(origin_->content()));
  EXPECT_TRUE(peer_.Download(wire_).ok());
}

TEST_F(Reuse, APartlyPresentTaskGoesOnWithoutTheQuestionWhereThePolicySaysSo) {
  peer_.config.storage.revalidate = Revalidate::kNever;
  auto range = wire_;
  range.mutable_range()->set_length(3 * kTestPieceLength);
  ASSERT_TRUE(peer_.Download(range).ok());
  ASSERT_TRUE(peer_.link.Await("back to source finished"));
  RecordingObserver observer;
  ASSERT_TRUE(peer_.Download(wire_, observer).ok());
  EXPECT_EQ(origin_->stats(), 1);
  EXPECT_EQ(origin_->reads_of_any_byte(), 1);
  EXPECT_EQ(peer_.BytesOf(*TaskManager::IdOf(wire_)), origin_->content());
}

TEST_F(Reuse, AChangeThatIsSeenOnTheWayOnlyGivesTheOldPiecesUp) {
  peer_.config.storage.revalidate = Revalidate::kNever;
  auto range = wire_;
  range.mutable_range()->set_length(3 * kTestPieceLength);
  ASSERT_TRUE(peer_.Download(range).ok());
  ASSERT_TRUE(peer_.link.Await("back to source finished"));
  SetEtag("\"v2\"");
  const absl::Status mixed = peer_.Download(wire_);
  EXPECT_TRUE(absl::IsDataLoss(mixed)) << mixed;
  AwaitEnd();
  RecordingObserver observer;
  ASSERT_TRUE(peer_.Download(wire_, observer).ok());
  EXPECT_EQ(observer.BytesFrom(TrafficType::kBackToSource), kSize);
  EXPECT_EQ(observer.started->response_header.at("etag"), "\"v2\"");
}

TEST_F(Reuse, ASchedulerThatSendsACompleteHostToTheOriginIsToldThatItHasTheTask) {
  Warm();
  wire_.set_need_back_to_source(true);
  ExpectServedFromHere(1);
  EXPECT_TRUE(peer_.link.Await("finished 11 655365"));
  EXPECT_TRUE(peer_.link.registration().metadata_only());
}

TEST_F(Reuse, OnlyACompleteCopyCanBeAnnounced) {
  wire_.set_metadata_only(true);
  const absl::Status status = peer_.Download(wire_);
  EXPECT_TRUE(absl::IsFailedPrecondition(status)) << status;
  EXPECT_THAT(std::string(MessageOf(status)), HasSubstr("is not complete on this host"));
  EXPECT_EQ(peer_.link.CountOf("register"), 0);
}

class Sharing : public Reuse {
 protected:
  Sharing() {
    ScriptedOrigin::Behaviour behaviour;
    behaviour.authorizations = {"Bearer first", "Bearer second"};
    origin_->Set(behaviour);
  }
  common::v2::Download As(const std::string& authorization) const {
    common::v2::Download wire = wire_;
    (*wire.mutable_request_header())["Authorization"] = authorization;
    // No reason to ask.
    (*wire.mutable_request_header())["User-Agent"] = authorization;
    return wire;
  }
  // The download of the first caller, which does not end before Release().
  std::future<absl::Status> BeginHeld(const std::string& authorization) {
    origin_->HoldFrom(2 * kTestPieceLength);
    std::future<absl::Status> running = peer_.Begin(As(authorization), of_first_);
    EXPECT_TRUE(origin_->AwaitHeld());
    return running;
  }
  static void ExpectRefused(const absl::Status& status) {
    const std::optional<BackendError> error = GetBackendError(status);
    ASSERT_TRUE(error) << status;
    EXPECT_EQ(error->status_code, 401);
  }

  RecordingObserver of_first_;
};

TEST_F(Sharing, WhoBringsOtherCredentialsGetsNothingByThoseOfAnother) {
  auto running = BeginHeld("Bearer first");
  int stats = origin_->stats();
  for (const common::v2::Download& wire : {As("Bearer wrong"), wire_}) {
    RecordingObserver observer;
    ExpectRefused(peer_.Download(wire, observer));
    EXPECT_FALSE(observer.started);
    EXPECT_EQ(origin_->stats(), ++stats);
  }
  // Others whom the origin lets in share the download.
  RecordingObserver of_second;
  auto second = peer_.Begin(As("Bearer second"), of_second);
  RecordingObserver of_same;
  common::v2::Download like_the_first = As("Bearer first");
  (*like_the_first.mutable_request_header())["User-Agent"] = "another";
  auto same = peer_.Begin(like_the_first, of_same);
  // Who comes when it has ended asks the origin whether the file is still the same.
  for (RecordingObserver* observer : {&of_second, &of_same}) ASSERT_TRUE(observer->AwaitStarted());
  origin_->Release();
  for (auto* future : {&running, &second, &same}) {
    const absl::Status status = future->get();
    EXPECT_TRUE(status.ok()) << status;
  }
  EXPECT_EQ(origin_->stats(), stats + 1) << "of the second, and not of the one with the credentials of the first";
  EXPECT_EQ(origin_->reads_of_any_byte(), 1);
}

TEST_F(Sharing, NobodyIsAskedForWhereThePolicySaysSo) {
  peer_.config.storage.revalidate = Revalidate::kInterval;
  peer_.config.storage.revalidate_interval = absl::Hours(1);
  auto running = BeginHeld("Bearer first");
  const int stats = origin_->stats();
  RecordingObserver observer;
  auto other = peer_.Begin(As("Bearer wrong"), observer);
  common::v2::Download without_origin = As("Bearer wrong");
  without_origin.set_disable_back_to_source(true);
  RecordingObserver of_without;
  auto without = peer_.Begin(without_origin, of_without);
  origin_->Release();
  for (auto* future : {&running, &other, &without}) EXPECT_TRUE(future->get().ok());
  EXPECT_EQ(origin_->stats(), stats);
}

TEST_F(Sharing, WhatIsOpenToEverybodyIsSharedUnasked) {
  origin_->Set(ScriptedOrigin::Behaviour());
  origin_->HoldFrom(2 * kTestPieceLength);
  auto running = peer_.Begin(wire_, of_first_);
  ASSERT_TRUE(origin_->AwaitHeld());
  const int stats = origin_->stats();
  RecordingObserver observer;
  auto other = peer_.Begin(As("Bearer any"), observer);
  ASSERT_TRUE(observer.AwaitStarted());
  origin_->Release();
  EXPECT_TRUE(running.get().ok());
  EXPECT_TRUE(other.get().ok());
  EXPECT_EQ(origin_->stats(), stats);
}

TEST_F(Sharing, ARefusalOfTheFirstCallerIsNoAnswerToTheOthers) {
  ScriptedOrigin::Behaviour behaviour;
  behaviour.authorizations = {"Bearer second"};
  behaviour.holds_refusals = true;
  origin_->Set(behaviour);
  auto refused = peer_.Begin(As("Bearer wrong"), of_first_);
  ASSERT_TRUE(origin_->AwaitHeld());
  RecordingObserver observer;
  auto second = peer_.Begin(As("Bearer second"), observer);
  const TimePoint deadline = Clock::now() + kTestPatience;
  while (origin_->stats() < 2 && Clock::now() < deadline) std::this_thread::yield();
  origin_->Release();
  ExpectRefused(refused.get());
  const absl::Status status = second.get();
  EXPECT_TRUE(status.ok()) << status;
  EXPECT_EQ(peer_.BytesOf(*TaskManager::IdOf(wire_)), origin_->content());
}

TEST_F(Sharing, ASignedUrlIsACredentialOfItsOwn) {
  origin_->Set(ScriptedOrigin::Behaviour());
  wire_.add_filtered_query_params("Signature");
  wire_.set_url(origin_->Url() + "?Signature=one");
  origin_->HoldFrom(2 * kTestPieceLength);
  auto running = peer_.Begin(wire_, of_first_);
  ASSERT_TRUE(origin_->AwaitHeld());
  const int stats = origin_->stats();
  wire_.set_url(origin_->Url() + "?Signature=two");
  RecordingObserver observer;
  auto other = peer_.Begin(wire_, observer);
  const TimePoint deadline = Clock::now() + kTestPatience;
  while (origin_->stats() == stats && Clock::now() < deadline) std::this_thread::yield();
  EXPECT_EQ(origin_->stats(), stats + 1);
  origin_->Release();
  EXPECT_TRUE(running.get().ok());
  EXPECT_TRUE(other.get().ok());
}

}  // namespace
}  // namespace dragonfly::daemon
