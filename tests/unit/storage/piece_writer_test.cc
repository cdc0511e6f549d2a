// SPDX-License-Identifier: Apache-2.0
#include <thread>
#include <vector>

#include "runtime/buffer_pool.h"
#include "tests/unit/storage/store_fixture.h"

namespace dragonfly::storage {
namespace {

using PieceWriterTest = StoreTest;

TEST_F(PieceWriterTest, StoresWhatWasAppendedInStepsOfAnySize) {
  OpenStore();
  const size_t size = 5 << 20;
  for (const size_t step : {size_t{1000}, size_t{40} << 10, size_t{64} << 10, size_t{300} << 10, size}) {
    const std::string bytes = BytesOf(step, size);
    const auto content = store_->FindOrCreate(IdOf(step), Shape(size, size));
    ASSERT_TRUE(content.ok()) << content.status();
    absl::StatusOr<PieceWriter> writer = (*content)->BeginPiece(PieceNumber(0));
    ASSERT_TRUE(writer.ok()) << writer.status();
    for (size_t at = 0; at < size; at += step) {
      ASSERT_TRUE(writer->Append(AsBytes(std::string_view(bytes).substr(at, step))).ok());
    }
    EXPECT_EQ(writer->written(), size);
    const auto record = writer->Commit(std::nullopt, "", TrafficType::kBackToSource);
    ASSERT_TRUE(record.ok()) << record.status();
    EXPECT_EQ(record->crc32, Crc32(bytes));
    EXPECT_EQ(ReadFile((*content)->path()), bytes);
    EXPECT_EQ(ReadPiece(*(*content)->OpenPiece(PieceNumber(0))), bytes);
  }
}

TEST_F(PieceWriterTest, KeepsNoBlockWhenBlocksAreScarce) {
  OpenStore();
  const size_t size = 1 << 20;
  const std::string bytes = BytesOf(1, size);
  const auto content = store_->FindOrCreate(IdOf(1), Shape(size, size));
  ASSERT_TRUE(content.ok()) << content.status();
  absl::StatusOr<PieceWriter> writer = (*content)->BeginPiece(PieceNumber(0));
  ASSERT_TRUE(writer.ok()) << writer.status();
  const size_t step = 10'000;
  ASSERT_TRUE(writer->Append(AsBytes(std::string_view(bytes).substr(0, step))).ok());
  EXPECT_EQ(runtime::BlocksInUse(), 1u);
  std::vector<runtime::Block> others;
  while (!runtime::BlocksAreScarce()) others.push_back(runtime::Block::Take());
  for (size_t at = step; at < size; at += step) {
    if (at == size / 2 / step * step) others.clear();
    ASSERT_TRUE(writer->Append(AsBytes(std::string_view(bytes).substr(at, step))).ok());
    EXPECT_EQ(runtime::BlocksInUse(), others.empty() ? 1 : others.size()) << at;
  }
  const auto record = writer->Commit(std::nullopt, "", TrafficType::kBackToSource);
  ASSERT_TRUE(record.ok()) << record.status();
  EXPECT_EQ(record->crc32, Crc32(bytes));
  EXPECT_EQ(ReadFile((*content)->path()), bytes);
  EXPECT_EQ(runtime::BlocksInUse(), 0u);
}

TEST_F(PieceWriterTest, ShowsNothingBeforeCommit) {
  OpenStore();
  const auto content = Make(1, 2 * kPiece);
  absl::StatusOr<PieceWriter> writer = content->BeginPiece(PieceNumber(1));
  ASSERT_TRUE(writer->Append(AsBytes(BytesOf(1, kPiece))).ok());
  EXPECT_FALSE(content->HasPiece(PieceNumber(1)));
  EXPECT_TRUE(absl::IsNotFound(content->OpenPiece(PieceNumber(1)).status()));
  EXPECT_TRUE(content->FinishedSince(0).empty());
  const auto record = writer->Commit(std::nullopt, "parent", TrafficType::kRemotePeer);
  ASSERT_TRUE(record.ok());
  EXPECT_TRUE(content->HasPiece(PieceNumber(1)));
  const std::optional<PieceRecord> found = content->FindPiece(PieceNumber(1));
  ASSERT_TRUE(found.has_value());
  EXPECT_EQ(found->range, (ByteRange{kPiece, kPiece}));
  EXPECT_EQ(found->parent_id, "parent");
  EXPECT_EQ(found->traffic_type, TrafficType::kRemotePeer);
  EXPECT_EQ(found->created_at, record->created_at);
  EXPECT_EQ(found->cost, record->cost);
}

TEST_F(PieceWriterTest, LetsOnlyOneWriterHaveAPiece) {
  OpenStore();
  const auto content = Make(1, 2 * kPiece);
  absl::StatusOr<PieceWriter> writer = content->BeginPiece(PieceNumber(0));
  ASSERT_TRUE(writer.ok());
  EXPECT_TRUE(absl::IsFailedPrecondition(content->BeginPiece(PieceNumber(0)).status()));
  EXPECT_TRUE(content->BeginPiece(PieceNumber(1)).ok());
  writer = absl::CancelledError("gone");  // dropped
  ASSERT_TRUE(WritePiece(*content, 0, BytesOf(1, kPiece)).ok());
  EXPECT_TRUE(absl::IsAlreadyExists(content->BeginPiece(PieceNumber(0)).status()));
  EXPECT_TRUE(absl::IsOutOfRange(content->BeginPiece(PieceNumber(2)).status()));
  EXPECT_TRUE(absl::IsOutOfRange(content->BeginPiece(PieceNumber(UINT32_MAX)).status()));
}

TEST_F(PieceWriterTest, RefusesMoreBytesThanThePieceHas) {
  OpenStore();
  const auto content = Make(1, kPiece + 10);
  absl::StatusOr<PieceWriter> writer = content->BeginPiece(PieceNumber(1));
  EXPECT_EQ(writer->range(), (ByteRange{kPiece, 10}));
  EXPECT_TRUE(absl::IsOutOfRange(writer->Append(AsBytes(BytesOf(1, 11)))));
  ASSERT_TRUE(writer->Append(AsBytes(BytesOf(1, 10))).ok());
  EXPECT_TRUE(absl::IsOutOfRange(writer->Append(AsBytes("x"))));
  EXPECT_TRUE(writer->Commit(std::nullopt, "", TrafficType::kBackToSource).ok());
}

TEST_F(PieceWriterTest, RefusesAShortPieceAndFreesIt) {
  OpenStore();
  const auto content = Make(1, kPiece);
  EXPECT_TRUE(absl::IsOutOfRange(WritePiece(*content, 0, BytesOf(1, kPiece - 1)).status()));
  EXPECT_FALSE(content->HasPiece(PieceNumber(0)));
  EXPECT_TRUE(WritePiece(*content, 0, BytesOf(1, kPiece)).ok());
}

TEST_F(PieceWriterTest, RefusesBytesThatDifferFromTheSendersDigest) {
  OpenStore();
  const auto content = Make(1, kPiece);
  const std::string bytes = BytesOf(1, kPiece);
  for (const std::string& digest : {std::string("crc32:1"), StrCat("sha256:", Sha256Hex("other"))}) {
    absl::StatusOr<PieceWriter> writer = content->BeginPiece(PieceNumber(0));
    ASSERT_TRUE(writer->Append(AsBytes(bytes)).ok());
    const auto record = writer->Commit(*Digest::Parse(digest), "p", TrafficType::kRemotePeer);
    EXPECT_TRUE(absl::IsDataLoss(record.status())) << record.status();
    EXPECT_FALSE(content->HasPiece(PieceNumber(0)));
    EXPECT_TRUE(absl::IsFailedPrecondition(writer->Append(AsBytes(bytes))));
    EXPECT_TRUE(absl::IsFailedPrecondition(writer->Commit(std::nullopt, "p", TrafficType::kRemotePeer).status()));
  }
  absl::StatusOr<PieceWriter> writer = content->BeginPiece(PieceNumber(0));
  ASSERT_TRUE(writer->Append(AsBytes(bytes)).ok());
  const Digest right = *Digest::Parse(StrCat("sha256:", Sha256Hex(bytes)));
  EXPECT_TRUE(writer->Commit(right, "p", TrafficType::kRemotePeer).ok());
}

TEST_F(PieceWriterTest, BeginsAgainAfterRestart) {
  OpenStore();
  const auto content = Make(1, kPiece);
  absl::StatusOr<PieceWriter> writer = content->BeginPiece(PieceNumber(0));
  ASSERT_TRUE(writer->Append(AsBytes(BytesOf(9, kPiece - 5))).ok());
  writer->Restart();
  EXPECT_EQ(writer->written(), 0u);
  const std::string bytes = BytesOf(1, kPiece);
  ASSERT_TRUE(writer->Append(AsBytes(bytes)).ok());
  ASSERT_TRUE(writer->Commit(Digest::OfCrc32(Crc32(bytes)), "p", TrafficType::kRemotePeer).ok());
  EXPECT_EQ(ReadPiece(*content->OpenPiece(PieceNumber(0))), bytes);
}

TEST_F(PieceWriterTest, SurvivesBeingMoved) {
  OpenStore();
  const auto content = Make(1, 2 * kPiece);
  PieceWriter a = *content->BeginPiece(PieceNumber(0));
  PieceWriter b = *content->BeginPiece(PieceNumber(1));
  a = std::move(b);  // frees piece 0
  EXPECT_EQ(a.number(), PieceNumber(1));
  EXPECT_TRUE(content->BeginPiece(PieceNumber(0)).ok());
  EXPECT_TRUE(absl::IsFailedPrecondition(content->BeginPiece(PieceNumber(1)).status()));
}

TEST_F(PieceWriterTest, WritesPiecesFromManyThreads) {
  OpenStore();
  const uint32_t pieces = 64;
  const std::string bytes = BytesOf(1, pieces * kPiece);
  const auto content = Make(1, bytes.size());
  std::vector<std::thread> threads;
  for (uint32_t t = 0; t < 4; ++t) {
    threads.emplace_back([&, t] {
      for (uint32_t n = 0; n < pieces; ++n) {
        const uint32_t number = (n + t * 16) % pieces;
        const auto record = WritePiece(*content, number, std::string_view(bytes).substr(number * kPiece, kPiece));
        if (!record.ok()) {
          EXPECT_TRUE(absl::IsAlreadyExists(record.status()) || absl::IsFailedPrecondition(record.status()))
              << record.status();
        }
        if (content->HasPiece(PieceNumber(number))) {
          EXPECT_TRUE(content->OpenPiece(PieceNumber(number)).ok());
        }
      }
    });
  }
  for (std::thread& thread : threads) thread.join();
  EXPECT_TRUE(content->complete());
  EXPECT_EQ(content->FinishedSince(0).size(), pieces);
  EXPECT_EQ(ReadFile(content->path()), bytes);
  OpenStore();
  EXPECT_TRUE(store_->Find(IdOf(1))->complete());
}

TEST_F(PieceWriterTest, RefusesAnEndlessParentId) {
  OpenStore();
  const auto content = Make(1, kPiece);
  EXPECT_TRUE(absl::IsInvalidArgument(WritePiece(*content, 0, BytesOf(1, kPiece), std::string(513, 'x')).status()));
  EXPECT_TRUE(WritePiece(*content, 0, BytesOf(1, kPiece), std::string(512, 'x')).ok());
}

// A stream from an origin that does not tell how much it will send.
TEST_F(PieceWriterTest, TakesAContentOfUnknownLength) {
  OpenStore();
  const std::string bytes = BytesOf(1, 2 * kPiece + 100);
  const auto content = Make(1, std::nullopt);
  EXPECT_EQ(content->layout(), std::nullopt);
  for (uint32_t n = 0; n < 2; ++n) {
    ASSERT_TRUE(WritePiece(*content, n, std::string_view(bytes).substr(n * kPiece, kPiece)).ok());
  }
  EXPECT_FALSE(content->complete());
  EXPECT_TRUE(content->HasRange({0, 2 * kPiece}));
  EXPECT_FALSE(content->HasRange({0, 2 * kPiece + 1}));
  EXPECT_TRUE(absl::IsFailedPrecondition(content->FinishLength(bytes.size())));
  {
    // Leaves bytes behind the end.
    absl::StatusOr<PieceWriter> writer = content->BeginPiece(PieceNumber(2));
    EXPECT_EQ(writer->range(), (ByteRange{2 * kPiece, kPiece}));
    ASSERT_TRUE(writer->Append(AsBytes(BytesOf(5, kPiece))).ok());
  }
  ASSERT_TRUE(WritePiece(*content, 2, std::string_view(bytes).substr(2 * kPiece)).ok());
  EXPECT_TRUE(content->HasRange({100, 2 * kPiece}));
  EXPECT_FALSE(content->HasRange({100, 2 * kPiece + 1}));
  EXPECT_TRUE(absl::IsFailedPrecondition(content->FinishLength(bytes.size() + 1)));
  EXPECT_TRUE(absl::IsFailedPrecondition(content->FinishLength(bytes.size() - 1)));
  ASSERT_TRUE(content->FinishLength(bytes.size()).ok());
  EXPECT_TRUE(content->FinishLength(bytes.size()).ok());
  EXPECT_TRUE(absl::IsFailedPrecondition(content->FinishLength(1)));
  EXPECT_TRUE(content->complete());
  EXPECT_EQ(ReadFile(content->path()), bytes);
  OpenStore();
  EXPECT_TRUE(store_->Find(IdOf(1))->complete());
}

TEST_F(PieceWriterTest, RefusesAnUnknownLengthWithAShortPieceInTheMiddle) {
  OpenStore();
  const auto content = Make(1, std::nullopt);
  ASSERT_TRUE(WritePiece(*content, 0, BytesOf(1, kPiece - 1)).ok());
  ASSERT_TRUE(WritePiece(*content, 1, BytesOf(1, kPiece)).ok());
  EXPECT_TRUE(absl::IsFailedPrecondition(content->FinishLength(2 * kPiece - 1)));
}

TEST_F(PieceWriterTest, TakesAnEmptyContentOfUnknownLength) {
  OpenStore();
  const auto content = Make(1, std::nullopt);
  EXPECT_TRUE(absl::IsOutOfRange(WritePiece(*content, 0, "").status()));
  ASSERT_TRUE(content->FinishLength(0).ok());
  EXPECT_TRUE(content->complete());
}

}  // namespace
}  // namespace dragonfly::storage
