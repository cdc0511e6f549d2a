// SPDX-License-Identifier: Apache-2.0
#include "storage/task_log.h"

#include <gtest/gtest.h>

#include <random>

#include "tests/unit/storage/store_fixture.h"

namespace dragonfly::storage {
namespace {

constexpr uint64_t kPiece = 1000;
const BootId kThisBoot = {1, 2, 3};
const BootId kOtherBoot = {9, 9, 9};

PieceRecord RecordOf(uint32_t number, uint64_t length = kPiece) {
  PieceRecord record;
  record.number = PieceNumber(number);
  record.range = {number * kPiece, length};
  record.crc32 = 0xdead0000 + number;
  record.parent_id = "10.0.0." + std::to_string(number);
  record.traffic_type = TrafficType::kRemotePeer;
  record.cost = absl::Milliseconds(3);
  record.created_at = absl::FromUnixMicros(1'700'000'000'000'000 + number);
  return record;
}

std::string HeaderOf(std::optional<uint64_t> content_length, const BootId& boot = kThisBoot) {
  TaskLogHeader header;
  header.content_length = content_length;
  header.piece_length = kPiece;
  header.created_at = absl::FromUnixMicros(1'700'000'000'000'000);
  header.boot_id = boot;
  header.response_header = {{"content-type", "text/plain"}, {"etag", "\"x\""}};
  return EncodeTaskLogHeader(IdOf(1), header);
}

absl::StatusOr<TaskLog> Parse(std::string_view bytes) { return ParseTaskLog(bytes, IdOf(1), kThisBoot); }

std::vector<uint32_t> NumbersOf(const TaskLog& log) {
  std::vector<uint32_t> numbers;
  for (const TaskLog::Piece& piece : log.pieces) numbers.push_back(piece.record.number.value());
  return numbers;
}

TEST(TaskLog, ReadsBackWhatWasWritten) {
  const std::string bytes = HeaderOf(2500) + EncodePieceFinished(RecordOf(2, 500)) + EncodePieceFinished(RecordOf(0));
  const auto log = Parse(bytes);
  ASSERT_TRUE(log.ok()) << log.status();
  EXPECT_EQ(log->header.content_length, 2500u);
  EXPECT_EQ(log->header.piece_length, kPiece);
  EXPECT_EQ(log->header.response_header.at("etag"), "\"x\"");
  EXPECT_EQ(log->valid_bytes, bytes.size());
  ASSERT_EQ(NumbersOf(*log), (std::vector<uint32_t>{2, 0}));
  const PieceRecord& piece = log->pieces[0].record;
  EXPECT_EQ(piece.range, (ByteRange{2000, 500}));
  EXPECT_EQ(piece.crc32, 0xdead0002);
  EXPECT_EQ(piece.parent_id, "10.0.0.2");
  EXPECT_EQ(piece.traffic_type, TrafficType::kRemotePeer);
  EXPECT_EQ(piece.cost, absl::Milliseconds(3));
}

TEST(TaskLog, ForgetsDroppedPiecesAndFindsThemAgainWhenTheyAreWrittenAgain) {
  const std::string bytes = HeaderOf(5000) + EncodePieceFinished(RecordOf(0)) + EncodePieceFinished(RecordOf(1)) +
                            EncodePieceDropped(PieceNumber(0)) + EncodePieceDropped(PieceNumber(1)) +
                            EncodePieceFinished(RecordOf(1));
  EXPECT_EQ(NumbersOf(*Parse(bytes)), std::vector<uint32_t>{1});
  EXPECT_TRUE(Parse(bytes + EncodeContentReset())->pieces.empty());
}

TEST(TaskLog, TakesTheLengthThatBecameKnownLater) {
  const std::string unknown =
      HeaderOf(std::nullopt) + EncodePieceFinished(RecordOf(0)) + EncodePieceFinished(RecordOf(1, 10));
  EXPECT_EQ(Parse(unknown)->header.content_length, std::nullopt);
  EXPECT_EQ(NumbersOf(*Parse(unknown)), (std::vector<uint32_t>{0, 1}));
  const auto known = Parse(unknown + EncodeContentLength(1010));
  EXPECT_EQ(known->header.content_length, 1010u);
  EXPECT_EQ(NumbersOf(*known), (std::vector<uint32_t>{0, 1}));
  // Pieces that contradict the length are not the content's.
  EXPECT_EQ(NumbersOf(*Parse(unknown + EncodeContentLength(1011))), std::vector<uint32_t>{0});
}

TEST(TaskLog, TellsWhatAPowerCutMayHaveTaken) {
  const std::string before = HeaderOf(9000, kOtherBoot) + EncodePieceFinished(RecordOf(0));
  const std::string synced = before + EncodeSynced(before.size(), 77) + EncodePieceFinished(RecordOf(1));
  const auto log = Parse(synced + EncodeBoot(kThisBoot) + EncodePieceFinished(RecordOf(2)));
  ASSERT_EQ(log->pieces.size(), 3u);
  EXPECT_EQ(log->synced_ns, 77);
  EXPECT_TRUE(log->current_boot);
  EXPECT_TRUE(log->pieces[0].synced);
  EXPECT_FALSE(log->pieces[0].current_boot);
  EXPECT_FALSE(log->pieces[1].synced);
  EXPECT_FALSE(log->pieces[1].current_boot);
  EXPECT_TRUE(log->pieces[2].current_boot);
  EXPECT_FALSE(ParseTaskLog(synced, IdOf(1), std::nullopt)->current_boot);
}

TEST(TaskLog, CutsATornTailOffAtEveryByte) {
  const std::string header = HeaderOf(9000);
  const std::string one = header + EncodePieceFinished(RecordOf(0));
  const std::string two = one + EncodePieceFinished(RecordOf(1));
  for (size_t size = 0; size <= two.size(); ++size) {
    const auto log = Parse(std::string_view(two).substr(0, size));
    if (size < header.size()) {
      EXPECT_TRUE(absl::IsDataLoss(log.status())) << size;
      continue;
    }
    ASSERT_TRUE(log.ok()) << size;
    const size_t whole = size == two.size() ? 2 : size >= one.size() ? 1 : 0;
    EXPECT_EQ(log->pieces.size(), whole) << size;
    EXPECT_EQ(log->valid_bytes, whole == 2 ? two.size() : whole == 1 ? one.size() : header.size()) << size;
  }
}

TEST(TaskLog, NeverReadsAWrongPieceFromDamagedBytes) {
  const std::string good = HeaderOf(std::nullopt) + EncodePieceFinished(RecordOf(0)) + EncodeExposed() +
                           EncodePieceFinished(RecordOf(1)) + EncodePieceDropped(PieceNumber(0)) +
                           EncodePieceFinished(RecordOf(0)) + EncodePieceFinished(RecordOf(2, 5)) +
                           EncodeContentLength(2005) + EncodeSynced(10, 5) + EncodeBoot(kThisBoot);
  std::mt19937 random(7);
  for (int round = 0; round < 20'000; ++round) {
    std::string bytes = good;
    for (uint32_t flips = 1 + random() % 4; flips > 0; --flips) {
      bytes[random() % bytes.size()] ^= static_cast<char>(1 + random() % 255);
    }
    if (random() % 4 == 0) bytes.resize(random() % bytes.size());
    if (random() % 4 == 0) bytes += BytesOf(static_cast<uint64_t>(round), random() % 200);
    const auto log = Parse(bytes);
    if (!log.ok()) continue;
    ASSERT_LE(log->valid_bytes, bytes.size());
    for (const TaskLog::Piece& piece : log->pieces) {
      const uint32_t number = piece.record.number.value();
      ASSERT_LT(number, 3u);
      ASSERT_EQ(piece.record.crc32, 0xdead0000 + number);
      ASSERT_EQ(piece.record.range, (ByteRange{number * kPiece, number == 2 ? 5 : kPiece}));
    }
  }
}

TEST(TaskLog, RefusesAnotherTasksHeader) {
  EXPECT_TRUE(absl::IsDataLoss(ParseTaskLog(HeaderOf(10), IdOf(2), kThisBoot).status()));
}

TEST(TaskLog, KnowsTheRunningKernel) {
  const std::optional<BootId> id = CurrentBootId();
  ASSERT_TRUE(id.has_value());
  EXPECT_EQ(id, CurrentBootId());
  EXPECT_NE(*id, BootId{});
}

}  // namespace
}  // namespace dragonfly::storage
