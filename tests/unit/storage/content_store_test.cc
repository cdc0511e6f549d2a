// SPDX-License-Identifier: Apache-2.0
#include "storage/content_store.h"

#include <dirent.h>
#include <sys/wait.h>

#include <thread>

#include "tests/unit/storage/store_fixture.h"

namespace dragonfly::storage {
namespace {

using ContentStoreTest = StoreTest;

size_t OpenDescriptors() {
  size_t count = 0;
  for (const auto& entry : std::filesystem::directory_iterator("/proc/self/fd")) count += entry.exists() ? 1 : 0;
  return count;
}

uint64_t AllocatedBytes(const std::string& path) {
  struct stat st;
  return ::stat(path.c_str(), &st) == 0 ? static_cast<uint64_t>(st.st_blocks) * 512 : 0;
}

TEST_F(ContentStoreTest, FindsWhatWasMade) {
  OpenStore();
  EXPECT_EQ(store_->Find(IdOf(1)), nullptr);
  ContentShape shape = Shape(3 * kPiece - 1);
  shape.response_header = {{"etag", "\"1\""}};
  const auto content = store_->FindOrCreate(IdOf(1), shape);
  ASSERT_TRUE(content.ok()) << content.status();
  EXPECT_EQ(store_->Find(IdOf(1)), *content);
  EXPECT_EQ(*store_->FindOrCreate(IdOf(1), shape), *content);
  EXPECT_EQ(store_->List(), std::vector{*content});
  EXPECT_EQ((*content)->id(), IdOf(1));
  EXPECT_EQ((*content)->layout()->piece_count(), 3u);
  EXPECT_EQ((*content)->response_header().at("etag"), "\"1\"");
  EXPECT_EQ((*content)->path(), ContentPath(1));
  EXPECT_FALSE((*content)->complete());
}

TEST_F(ContentStoreTest, CountsCompletenessByPieces) {
  OpenStore();
  const auto content = Make(1, 4 * kPiece);
  for (const uint32_t n : {3u, 0u, 1u}) ASSERT_TRUE(WritePiece(*content, n, BytesOf(n, kPiece)).ok());
  EXPECT_FALSE(content->complete());
  EXPECT_EQ(content->finished_piece_count(), 3u);
  EXPECT_EQ(content->finished_bytes(), 3 * kPiece);
  EXPECT_TRUE(content->HasRange({0, 2 * kPiece}));
  EXPECT_FALSE(content->HasRange({0, 2 * kPiece + 1}));
  EXPECT_TRUE(content->HasRange({3 * kPiece, kPiece}));
  EXPECT_FALSE(content->HasRange({3 * kPiece, kPiece + 1}));
  EXPECT_FALSE(content->HasRange({UINT64_MAX, 2}));
  EXPECT_FALSE(content->HasRange({2, UINT64_MAX}));
  std::vector<uint32_t> ascending, order;
  for (const PieceRecord& record : content->Finished()) ascending.push_back(record.number.value());
  for (const PieceRecord& record : content->FinishedSince(0)) order.push_back(record.number.value());
  EXPECT_EQ(ascending, (std::vector<uint32_t>{0, 1, 3}));
  EXPECT_EQ(order, (std::vector<uint32_t>{3, 0, 1}));
  EXPECT_EQ(content->Finished(PieceNumber(1), 1).size(), 1u);
  ASSERT_TRUE(WritePiece(*content, 2, BytesOf(2, kPiece)).ok());
  EXPECT_TRUE(content->complete());
}

TEST_F(ContentStoreTest, AnEmptyContentIsComplete) {
  OpenStore();
  const auto content = Make(1, 0);
  EXPECT_TRUE(content->complete());
  EXPECT_TRUE(content->HasRange({0, 0}));
  EXPECT_TRUE(absl::IsOutOfRange(content->BeginPiece(PieceNumber(0)).status()));
}

TEST_F(ContentStoreTest, RefusesShapesOfNoFile) {
  OpenStore();
  const TaskId id = IdOf(1);
  EXPECT_TRUE(absl::IsInvalidArgument(store_->FindOrCreate(id, Shape(10, 0)).status()));
  EXPECT_TRUE(absl::IsInvalidArgument(store_->FindOrCreate(id, Shape(UINT64_MAX, UINT64_MAX)).status()));
  EXPECT_TRUE(absl::IsInvalidArgument(store_->FindOrCreate(id, Shape(1ull << 50, 1)).status()));
  ContentShape shape = Shape(10);
  shape.response_header["x"] = std::string(300'000, 'x');
  EXPECT_TRUE(absl::IsInvalidArgument(store_->FindOrCreate(id, shape).status()));
  shape = Shape(10);
  shape.wanted = ByteRange{10, 1};
  EXPECT_TRUE(absl::IsInvalidArgument(store_->FindOrCreate(id, shape).status()));
  EXPECT_TRUE(store_->List().empty());
}

TEST_F(ContentStoreTest, ReplacesAContentOfAnotherShapeOnlyWhenNothingIsLost) {
  OpenStore();
  const auto untouched = Make(1, 10);
  const auto replaced = store_->FindOrCreate(IdOf(1), Shape(20));
  ASSERT_TRUE(replaced.ok());
  EXPECT_NE(*replaced, untouched);
  EXPECT_EQ((*replaced)->layout()->content_length(), 20u);
  EXPECT_TRUE(absl::IsCancelled(untouched->failure()));
  EXPECT_TRUE(absl::IsCancelled(untouched->BeginPiece(PieceNumber(0)).status()));

  // A writer keeps its content.
  {
    const absl::StatusOr<PieceWriter> writer = (*replaced)->BeginPiece(PieceNumber(0));
    EXPECT_EQ(*store_->FindOrCreate(IdOf(1), Shape(30)), *replaced);
  }

  // Left incomplete with pieces: another length replaces, another cut or an unknown length does not.
  const auto partial = Make(2, 3 * kPiece);
  ASSERT_TRUE(WritePiece(*partial, 0, BytesOf(1, kPiece)).ok());
  EXPECT_EQ(*store_->FindOrCreate(IdOf(2), Shape(3 * kPiece, 2 * kPiece)), partial);
  EXPECT_EQ(*store_->FindOrCreate(IdOf(2), Shape(std::nullopt)), partial);
  EXPECT_NE(*store_->FindOrCreate(IdOf(2), Shape(4 * kPiece)), partial);
  EXPECT_EQ(store_->usage().content_bytes, 0u);

  const auto complete = MakeComplete(3, kPiece);
  EXPECT_EQ(*store_->FindOrCreate(IdOf(3), Shape(2 * kPiece)), complete);
}

TEST_F(ContentStoreTest, OneOfTwoMakersMakes) {
  OpenStore();
  for (uint64_t id = 0; id < 50; ++id) {
    std::shared_ptr<TaskContent> made[2];
    std::vector<std::thread> threads;
    for (std::shared_ptr<TaskContent>& content : made) {
      threads.emplace_back([this, id, &content] { content = Make(id, kPiece); });
    }
    for (std::thread& thread : threads) thread.join();
    ASSERT_EQ(made[0], made[1]);
  }
}

TEST_F(ContentStoreTest, LetsReadersFinishWhatIsDeleted) {
  OpenStore();
  const auto content = MakeComplete(1, 2 * kPiece);
  const std::string bytes = BytesOf(1, 2 * kPiece);
  const absl::StatusOr<PieceBytes> open = content->OpenPiece(PieceNumber(0));
  ASSERT_TRUE(store_->Delete(IdOf(1)).ok());
  EXPECT_EQ(store_->Find(IdOf(1)), nullptr);
  EXPECT_FALSE(std::filesystem::exists(ContentPath(1)));
  EXPECT_FALSE(std::filesystem::exists(MetadataPath(1)));
  EXPECT_EQ(ReadPiece(*open), bytes.substr(0, kPiece));

  // Also pieces that are opened only now, and not those of a new content with the same id.
  MakeComplete(2, kPiece);
  const auto fresh = Make(1, 2 * kPiece);
  ASSERT_TRUE(WritePiece(*fresh, 1, BytesOf(77, kPiece)).ok());
  const auto late = content->OpenPiece(PieceNumber(1));
  ASSERT_TRUE(late.ok()) << late.status();
  EXPECT_EQ(ReadPiece(*late), bytes.substr(kPiece));

  EXPECT_EQ(store_->Delete(IdOf(9)).message(), StrCat("task ", IdOf(9).str(), " not found"));
  EXPECT_TRUE(absl::IsNotFound(store_->Delete(IdOf(9))));
}

TEST_F(ContentStoreTest, StopsWritersOfWhatIsDeleted) {
  OpenStore();
  const auto content = Make(1, kPiece);
  absl::StatusOr<PieceWriter> writer = content->BeginPiece(PieceNumber(0));
  const std::string bytes = BytesOf(1, kPiece);
  ASSERT_TRUE(writer->Append(AsBytes(bytes)).ok());
  ASSERT_TRUE(store_->Delete(IdOf(1)).ok());
  const auto fresh = Make(1, kPiece);
  EXPECT_TRUE(absl::IsCancelled(writer->Append(AsBytes(bytes))));
  EXPECT_TRUE(absl::IsCancelled(writer->Commit(std::nullopt, "", TrafficType::kRemotePeer).status()));
  EXPECT_FALSE(fresh->HasPiece(PieceNumber(0)));
  EXPECT_EQ(store_->usage().content_bytes, 0u);
  writer = absl::CancelledError("dropped");
  EXPECT_EQ(store_->usage().reserved_bytes, kPiece);
}

TEST_F(ContentStoreTest, ReservesTheBytesStillToBeWritten) {
  OpenStore(true, 10 * kPiece);
  const auto content = Make(1, 6 * kPiece);
  ContentStore::Usage usage = store_->usage();
  EXPECT_EQ(usage.total_bytes, 10 * kPiece);
  EXPECT_EQ(usage.reserved_bytes, 6 * kPiece);
  EXPECT_EQ(usage.available_bytes, 4 * kPiece);

  const absl::Status refused = store_->FindOrCreate(IdOf(2), Shape(5 * kPiece)).status();
  EXPECT_TRUE(absl::IsResourceExhausted(refused)) << refused;
  EXPECT_TRUE(std::string(refused.message()).starts_with("no space left on device: "));
  EXPECT_EQ(store_->Find(IdOf(2)), nullptr);
  EXPECT_FALSE(std::filesystem::exists(ContentPath(2)));
  EXPECT_FALSE(std::filesystem::exists(MetadataPath(2)));

  ASSERT_TRUE(WritePiece(*content, 0, BytesOf(1, kPiece)).ok());
  usage = store_->usage();
  EXPECT_EQ(usage.content_bytes, kPiece);
  EXPECT_EQ(usage.reserved_bytes, 5 * kPiece);
  EXPECT_EQ(usage.available_bytes, 4 * kPiece);

  // A download that was given up holds nothing; begun again it needs the room again.
  content->Fail(absl::UnavailableError("origin is gone"));
  EXPECT_EQ(store_->usage().available_bytes, 9 * kPiece);
  ASSERT_TRUE(store_->FindOrCreate(IdOf(2), Shape(5 * kPiece)).ok());
  EXPECT_TRUE(absl::IsResourceExhausted(store_->FindOrCreate(IdOf(1), Shape(6 * kPiece)).status()));
  ASSERT_TRUE(store_->Delete(IdOf(2)).ok());
  ASSERT_TRUE(store_->FindOrCreate(IdOf(1), Shape(6 * kPiece)).ok());
  EXPECT_EQ(store_->usage().reserved_bytes, 5 * kPiece);
  ASSERT_TRUE(store_->Delete(IdOf(1)).ok());
  EXPECT_EQ(store_->usage().available_bytes, 10 * kPiece);
}

TEST_F(ContentStoreTest, ReservesOnlyWhatIsWanted) {
  OpenStore(true, 10 * kPiece);
  ContentShape shape = Shape(1000 * kPiece);
  shape.wanted = ByteRange{kPiece + 1, kPiece};  // touches pieces 1 and 2
  const auto content = store_->FindOrCreate(IdOf(1), shape);
  ASSERT_TRUE(content.ok()) << content.status();
  EXPECT_EQ(store_->usage().reserved_bytes, 2 * kPiece);
  shape.wanted = ByteRange{2 * kPiece, 2 * kPiece};  // 2 is reserved already
  ASSERT_TRUE(store_->FindOrCreate(IdOf(1), shape).ok());
  EXPECT_EQ(store_->usage().reserved_bytes, 3 * kPiece);
  ASSERT_TRUE(WritePiece(**content, 2, BytesOf(1, kPiece)).ok());
  EXPECT_EQ(store_->usage().reserved_bytes, 2 * kPiece);
  // A range of a shape that this content does not have reserves what there is of it.
  ContentShape longer = Shape(2000 * kPiece);
  longer.wanted = ByteRange{1500 * kPiece, 5};
  {
    const absl::StatusOr<PieceWriter> writer = (*content)->BeginPiece(PieceNumber(1));
    EXPECT_EQ(*store_->FindOrCreate(IdOf(1), longer), *content);
    longer = Shape(std::nullopt);
    longer.wanted = ByteRange{UINT64_MAX, UINT64_MAX};
    EXPECT_EQ(*store_->FindOrCreate(IdOf(1), longer), *content);
  }
  EXPECT_EQ(store_->usage().reserved_bytes, 2 * kPiece);
  // Others are reserved as they begin, as long as they fit.
  std::vector<PieceWriter> writers;
  for (uint32_t n = 10; n < 17; ++n) writers.push_back(*(*content)->BeginPiece(PieceNumber(n)));
  EXPECT_EQ(store_->usage().available_bytes, 0u);
  EXPECT_TRUE(absl::IsResourceExhausted((*content)->BeginPiece(PieceNumber(17)).status()));
  writers.pop_back();
  EXPECT_TRUE((*content)->BeginPiece(PieceNumber(16)).ok());
}

TEST_F(ContentStoreTest, ReservesAnUnknownLengthPieceByPiece) {
  OpenStore(true, 3 * kPiece);
  const auto content = Make(1, std::nullopt);
  EXPECT_EQ(store_->usage().reserved_bytes, 0u);
  {
    const absl::StatusOr<PieceWriter> writer = content->BeginPiece(PieceNumber(0));
    EXPECT_EQ(store_->usage().reserved_bytes, kPiece);
  }
  EXPECT_EQ(store_->usage().reserved_bytes, 0u);
  ASSERT_TRUE(WritePiece(*content, 0, BytesOf(1, 100)).ok());
  EXPECT_EQ(store_->usage().content_bytes, 100u);
  EXPECT_EQ(store_->usage().reserved_bytes, 0u);
}

TEST_F(ContentStoreTest, RefusesWhatTheFileSystemCannotHold) {
  OpenStore();
  const ContentStore::Usage usage = store_->usage();
  EXPECT_GT(usage.total_bytes, 0u);
  const auto content = store_->FindOrCreate(IdOf(1), Shape(usage.total_bytes, 64 << 20));
  EXPECT_TRUE(absl::IsResourceExhausted(content.status())) << content.status();
  EXPECT_EQ(store_->usage().reserved_bytes, 0u);
}

TEST_F(ContentStoreTest, GivesTheBlocksOfAFailedDownloadBack) {
  OpenStore();
  const uint64_t size = 64 << 20;
  const auto content = store_->FindOrCreate(IdOf(1), Shape(size, 1 << 20));
  ASSERT_TRUE(content.ok());
  const std::string bytes = BytesOf(1, 1 << 20);
  ASSERT_TRUE(WritePiece(**content, 5, bytes).ok());
  if (AllocatedBytes(ContentPath(1)) < size) GTEST_SKIP() << "the file system does not preallocate";
  absl::StatusOr<PieceWriter> running = (*content)->BeginPiece(PieceNumber(7));
  ASSERT_TRUE(running->Append(AsBytes(bytes)).ok());
  (*content)->Fail(absl::UnavailableError("no parents"));
  EXPECT_LT(AllocatedBytes(ContentPath(1)), 4u << 20);
  // What was finished, and what still runs, is not touched.
  ASSERT_TRUE(running->Commit(Digest::OfCrc32(Crc32(bytes)), "", TrafficType::kRemotePeer).ok());
  EXPECT_EQ(ReadPiece(*(*content)->OpenPiece(PieceNumber(5))), bytes);
  EXPECT_EQ(ReadPiece(*(*content)->OpenPiece(PieceNumber(7))), bytes);
  (void)store_->FindOrCreate(IdOf(1), Shape(size, 1 << 20));
  EXPECT_GE(AllocatedBytes(ContentPath(1)), size);
  // The same at the next start.
  OpenStore();
  EXPECT_LT(AllocatedBytes(ContentPath(1)), 4u << 20);
  EXPECT_EQ(ReadPiece(*store_->Find(IdOf(1))->OpenPiece(PieceNumber(5))), bytes);
}

TEST_F(ContentStoreTest, TellsAFailureUntilSomebodyBeginsAgain) {
  OpenStore();
  const auto content = Make(1, kPiece);
  EXPECT_TRUE(content->failure().ok());
  content->Fail(absl::UnavailableError("origin is gone"));
  EXPECT_EQ(content->failure(), absl::UnavailableError("origin is gone"));
  EXPECT_TRUE(content->BeginPiece(PieceNumber(0)).ok());
  EXPECT_TRUE(content->failure().ok());
}

TEST_F(ContentStoreTest, AllowsOneDaemonADirectory) {
  OpenStore();
  StoreOptions options;
  options.dir = dir_ / "store";
  const absl::Status refused = ContentStore::Open(options).status();
  EXPECT_TRUE(absl::IsFailedPrecondition(refused));
  EXPECT_EQ(refused.message(), StrCat("storage directory ", options.dir, " is in use by another daemon"));
  store_.reset();
  EXPECT_TRUE(ContentStore::Open(options).ok());
  options.dir = "relative";
  EXPECT_TRUE(absl::IsInvalidArgument(ContentStore::Open(options).status()));
}

TEST_F(ContentStoreTest, WipesWhatAnEarlierRunLeftAndNothingElse) {
  OpenStore();
  MakeComplete(1, kPiece);
  store_.reset();
  const std::string outside = dir_ / "outside";
  std::filesystem::create_directory(outside);
  WriteFile(outside + "/precious", "x");
  std::filesystem::create_directory_symlink(outside, dir_ / "store/content/tasks/abc");
  std::filesystem::create_directory_symlink(outside, dir_ / "store/content/link");
  std::filesystem::create_symlink(outside + "/precious", dir_ / "store/metadata/link");
  std::filesystem::create_directories(dir_ / "store/metadata/rocksdb/deep");
  WriteFile(dir_ / "store/metadata/rocksdb/deep/CURRENT", "x");
  WriteFile(dir_ / "store/neighbour", "x");
  OpenStore(/*keep=*/false);
  EXPECT_TRUE(store_->List().empty());
  EXPECT_FALSE(std::filesystem::exists(ContentPath(1)));
  EXPECT_FALSE(std::filesystem::exists(dir_ / "store/metadata/rocksdb"));
  EXPECT_FALSE(std::filesystem::exists(std::filesystem::symlink_status(dir_ / "store/content/link")));
  EXPECT_EQ(ReadFile(outside + "/precious"), "x");
  EXPECT_EQ(ReadFile(dir_ / "store/neighbour"), "x");
  MakeComplete(1, kPiece);
}

TEST_F(ContentStoreTest, RefusesADirectoryThatIsALink) {
  std::filesystem::create_directories(dir_ / "elsewhere");
  std::filesystem::create_directories(dir_ / "store");
  std::filesystem::create_directory_symlink(dir_ / "elsewhere", dir_ / "store/content");
  StoreOptions options;
  options.dir = dir_ / "store";
  EXPECT_TRUE(absl::IsFailedPrecondition(ContentStore::Open(options).status()));
}

TEST_F(ContentStoreTest, NeverWritesThroughALinkInItsTree) {
  OpenStore();
  WriteFile(dir_ / "precious", "x");
  std::filesystem::create_directories(std::filesystem::path(ContentPath(1)).parent_path());
  std::filesystem::create_symlink(dir_ / "precious", ContentPath(1));
  MakeComplete(1, kPiece);
  EXPECT_EQ(ReadFile(dir_ / "precious"), "x");
}

TEST_F(ContentStoreTest, RefusesToBeWrittenAfterTheStoreWasClosed) {
  OpenStore();
  const auto content = Make(1, 2 * kPiece);
  ASSERT_TRUE(WritePiece(*content, 0, BytesOf(1, kPiece)).ok());
  absl::StatusOr<PieceWriter> writer = content->BeginPiece(PieceNumber(1));
  const absl::StatusOr<PieceBytes> bytes = content->OpenPiece(PieceNumber(0));
  store_.reset();
  EXPECT_TRUE(absl::IsCancelled(writer->Append(AsBytes("x"))));
  EXPECT_TRUE(absl::IsCancelled(writer->Commit(std::nullopt, "", TrafficType::kRemotePeer).status()));
  EXPECT_TRUE(absl::IsCancelled(content->BeginPiece(PieceNumber(0)).status()));
  EXPECT_EQ(ReadPiece(*bytes), BytesOf(1, kPiece));
}

TEST_F(ContentStoreTest, HoldsManyContentsWithFewDescriptors) {
  // In memory where that is possible: ext4 searches long for an inode when very many were deleted a moment ago.
  const TempDir memory(std::filesystem::exists("/dev/shm") ? "/dev/shm" : ::testing::TempDir());
  store_dir_ = memory / "store";
  OpenStore();
  const size_t before = OpenDescriptors();
#ifdef NDEBUG
  constexpr uint64_t kTasks = 20'000;
#else
  constexpr uint64_t kTasks = 2'000;  // debug builds check the order of locks, in time that grows with their square
#endif
  for (uint64_t id = 0; id < kTasks; ++id) {
    // Incomplete ones: the disk need not be waited for.
    const auto content = store_->FindOrCreate(IdOf(id), Shape(20, 10));
    ASSERT_TRUE(content.ok()) << content.status();
    ASSERT_TRUE(WritePiece(**content, 0, BytesOf(id, 10)).ok());
  }
  EXPECT_LE(OpenDescriptors(), before + 1400);
  EXPECT_EQ(store_->usage().content_bytes, kTasks * 10);
  OpenStore();
  EXPECT_LE(OpenDescriptors(), before + 5);
  EXPECT_EQ(store_->List().size(), kTasks);
  EXPECT_EQ(store_->usage().content_bytes, kTasks * 10);
  for (uint64_t id = 0; id < kTasks; id += 7) {
    const auto piece = store_->Find(IdOf(id))->OpenPiece(PieceNumber(0));
    ASSERT_TRUE(piece.ok()) << piece.status();
    ASSERT_EQ(ReadPiece(*piece), BytesOf(id, 10));
  }
  EXPECT_LE(OpenDescriptors(), before + 1400);
  store_.reset();
}

TEST_F(ContentStoreTest, StaysRightWhileTasksComeAndGo) {
  OpenStore(true, 1 << 20);
  std::vector<std::thread> threads;
  for (uint64_t t = 0; t < 4; ++t) {
    threads.emplace_back([this, t] {
      for (uint64_t i = 0; i < 300; ++i) {
        const uint64_t id = (i * 31 + t) % 5;
        const auto content = store_->FindOrCreate(IdOf(id), Shape(3 * kPiece));
        if (!content.ok()) continue;
        for (uint32_t n = 0; n < 3; ++n) (void)WritePiece(**content, n, BytesOf(n, kPiece));
        const auto piece = (*content)->OpenPiece(PieceNumber(1));
        if (piece.ok()) EXPECT_EQ(ReadPiece(*piece), BytesOf(1, kPiece));
        if (i % 3 == t % 3) (void)store_->Delete(IdOf(id));
        if (i % 7 == 0) (*content)->Fail(absl::UnavailableError("test"));
      }
    });
  }
  for (std::thread& thread : threads) thread.join();
  for (uint64_t id = 0; id < 5; ++id) (void)store_->Delete(IdOf(id));
  const ContentStore::Usage usage = store_->usage();
  EXPECT_EQ(usage.content_bytes, 0u);
  EXPECT_EQ(usage.reserved_bytes, 0u);
  EXPECT_EQ(usage.available_bytes, 1u << 20);
}

}  // namespace
}  // namespace dragonfly::storage
