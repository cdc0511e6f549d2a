// SPDX-License-Identifier: Apache-2.0
#include <fcntl.h>
#include <sys/wait.h>

#include <thread>

#include "base/unique_fd.h"
#include "tests/unit/storage/store_fixture.h"

namespace dragonfly::storage {
namespace {

constexpr size_t kSize = 3 * 4096 + 17;

class AdoptionTest : public StoreTest {
 protected:
  void SetUp() override {
    OpenStore();
    WriteFile(source_, BytesOf(1, kSize));
  }

  absl::StatusOr<AdoptMethod> Adopt(TaskContent& content, bool hard_link, const std::string& path) {
    const UniqueFd fd(::open(path.c_str(), O_RDONLY | O_CLOEXEC));
    return content.AdoptFile(fd.get(), hard_link);
  }
  static void AddAll(TaskContent& content) {
    for (uint32_t n = 0; n < content.layout()->piece_count(); ++n) {
      const auto piece = content.AddPieceInPlace(PieceNumber(n), std::nullopt);
      ASSERT_TRUE(piece.ok()) << piece.status();
      EXPECT_EQ(piece->traffic_type, TrafficType::kLocalPeer);
    }
  }
  static std::string BytesIn(TaskContent& content) {
    std::string bytes;
    for (uint32_t n = 0; n < content.layout()->piece_count(); ++n) {
      const auto piece = content.OpenPiece(PieceNumber(n));
      if (!piece.ok()) return StrCat("piece ", n, ": ", piece.status().ToString());
      bytes += ReadPiece(*piece);
    }
    return bytes;
  }
  // Older than any doubt about what a time of modification says.
  void Age(const std::string& path) {
    std::filesystem::last_write_time(path, std::filesystem::file_time_type::clock::now() - std::chrono::hours(1));
  }

  std::string source_ = dir_ / "source";
};

TEST_F(AdoptionTest, AHardLinkIsTheFileItself) {
  Age(source_);
  const auto content = Make(1, kSize);
  const auto how = Adopt(*content, /*hard_link=*/true, source_);
  ASSERT_TRUE(how.ok()) << how.status();
  ASSERT_EQ(*how, AdoptMethod::kHardLink);
  EXPECT_EQ(std::filesystem::hard_link_count(source_), 2u);
  EXPECT_TRUE(std::filesystem::equivalent(source_, ContentPath(1)));
  EXPECT_FALSE(std::filesystem::exists(ContentPath(1) + ".link"));
  EXPECT_EQ(store_->usage().reserved_bytes, 0u);
  AddAll(*content);
  EXPECT_TRUE(content->complete());
  EXPECT_EQ(BytesIn(*content), BytesOf(1, kSize));
  EXPECT_EQ(store_->usage().content_bytes, kSize);
  EXPECT_TRUE(content->ReadBlocks()->linked);
  ASSERT_TRUE(store_->Delete(IdOf(1)).ok());
  EXPECT_EQ(ReadFile(source_), BytesOf(1, kSize)) << "the user's name stays";
  EXPECT_EQ(store_->usage().content_bytes, 0u);
}

TEST_F(AdoptionTest, WithoutLeaveNothingIsLinked) {
  const auto content = Make(1, kSize);
  const auto how = Adopt(*content, /*hard_link=*/false, source_);
  ASSERT_TRUE(how.ok()) << how.status();
  if (*how == AdoptMethod::kReflink) GTEST_SKIP() << "this file system shares blocks";
  EXPECT_EQ(*how, AdoptMethod::kNone);
  EXPECT_EQ(std::filesystem::hard_link_count(source_), 1u);
  EXPECT_EQ(store_->usage().reserved_bytes, kSize) << "it is to be copied now";
}

TEST_F(AdoptionTest, AFileOfAnotherFileSystemIsNotLinked) {
  struct stat ours, shm;
  if (::stat("/dev/shm", &shm) != 0 || ::stat(dir_.path().c_str(), &ours) != 0 || shm.st_dev == ours.st_dev) {
    GTEST_SKIP() << "there is no other file system";
  }
  const TempDir elsewhere("/dev/shm");
  WriteFile(elsewhere / "source", BytesOf(1, kSize));
  const auto content = Make(1, kSize);
  const auto how = Adopt(*content, /*hard_link=*/true, elsewhere / "source");
  ASSERT_TRUE(how.ok()) << how.status();
  EXPECT_EQ(*how, AdoptMethod::kNone);
  // It is as good as new.
  const std::string bytes = BytesOf(1, kSize);
  for (uint32_t n = 0; n < 4; ++n) ASSERT_TRUE(WritePiece(*content, n, bytes.substr(n * kPiece, kPiece)).ok());
  EXPECT_EQ(BytesIn(*content), bytes);
}

TEST_F(AdoptionTest, AKnownChecksumSavesReading) {
  const auto content = Make(1, kSize);
  ASSERT_EQ(*Adopt(*content, true, source_), AdoptMethod::kHardLink);
  const auto piece = content->AddPieceInPlace(PieceNumber(0), 7);
  ASSERT_TRUE(piece.ok()) << piece.status();
  EXPECT_EQ(piece->crc32, 7u);
  EXPECT_EQ(content->AddPieceInPlace(PieceNumber(0), 7).status().code(), absl::StatusCode::kAlreadyExists);
  EXPECT_EQ(content->AddPieceInPlace(PieceNumber(4), 7).status().code(), absl::StatusCode::kOutOfRange);
}

TEST_F(AdoptionTest, OnlyAnEmptyContentTakesAFileAndOnlyOneOfItsLength) {
  const auto content = Make(1, kSize);
  WriteFile(dir_ / "short", "short");
  EXPECT_EQ(Adopt(*content, true, dir_ / "short").status().code(), absl::StatusCode::kAborted);
  ASSERT_TRUE(WritePiece(*content, 0, BytesOf(1, kSize).substr(0, kPiece)).ok());
  EXPECT_EQ(Adopt(*content, true, source_).status().code(), absl::StatusCode::kFailedPrecondition);
  EXPECT_EQ(Adopt(*Make(2, std::nullopt), true, source_).status().code(), absl::StatusCode::kFailedPrecondition);
}

TEST_F(AdoptionTest, AChangeOfTheFileIsNoticed) {
  Age(source_);
  const auto content = Make(1, kSize);
  ASSERT_EQ(*Adopt(*content, true, source_), AdoptMethod::kHardLink);
  AddAll(*content);
  EXPECT_TRUE(content->Verify().ok());
  std::string changed = BytesOf(1, kSize);
  changed[kSize - 1] ^= 1;
  WriteFile(source_, changed);
  const absl::Status verified = content->Verify();
  EXPECT_EQ(verified.code(), absl::StatusCode::kDataLoss) << verified;
  EXPECT_FALSE(content->complete());
  EXPECT_EQ(ReadFile(source_), changed) << "the user's file is left alone";
}

TEST_F(AdoptionTest, APieceThatIsNotTakenInPlaceIsNotWrittenIntoTheUsersFile) {
  Age(source_);
  const auto content = Make(1, kSize);
  ASSERT_EQ(*Adopt(*content, true, source_), AdoptMethod::kHardLink);
  ASSERT_TRUE(content->AddPieceInPlace(PieceNumber(0), std::nullopt).ok());
  EXPECT_EQ(content->BeginPiece(PieceNumber(0)).status().code(), absl::StatusCode::kAlreadyExists);
  EXPECT_EQ(content->BeginPiece(PieceNumber(4)).status().code(), absl::StatusCode::kOutOfRange);
  EXPECT_EQ(content->finished_piece_count(), 1u);

  const std::string other = BytesOf(2, kSize);
  for (const uint32_t n : {1u, 2u, 3u, 0u}) {
    // What lies in the new file is nobody's.
    if (n == 2) EXPECT_EQ(content->AddPieceInPlace(PieceNumber(n), 7).status().code(), absl::StatusCode::kAborted);
    ASSERT_TRUE(WritePiece(*content, n, std::string_view(other).substr(n * kPiece, kPiece)).ok()) << n;
  }
  EXPECT_TRUE(BytesIn(*content) == other);
  EXPECT_TRUE(ReadFile(source_) == BytesOf(1, kSize)) << "the user's file is left alone";
  EXPECT_EQ(std::filesystem::hard_link_count(source_), 1u);
}

TEST_F(AdoptionTest, ALinkedContentIsReadAgainAfterARestart) {
  Age(source_);
  {
    const auto content = Make(1, kSize);
    ASSERT_EQ(*Adopt(*content, true, source_), AdoptMethod::kHardLink);
    AddAll(*content);
    ASSERT_TRUE(content->Sync().ok());
  }
  OpenStore();
  const auto content = store_->Find(IdOf(1));
  ASSERT_NE(content, nullptr);
  EXPECT_TRUE(content->Verify().ok());
  EXPECT_EQ(BytesIn(*content), BytesOf(1, kSize));
  // The same once more, with a change while nobody looked.
  store_.reset();
  std::string changed = BytesOf(1, kSize);
  changed[0] ^= 1;
  WriteFile(source_, changed);
  OpenStore();
  ASSERT_NE(store_->Find(IdOf(1)), nullptr);
  EXPECT_EQ(store_->Find(IdOf(1))->Verify().code(), absl::StatusCode::kDataLoss);
}

TEST_F(AdoptionTest, SeveralThreadsAddPieces) {
  const auto content = Make(1, kSize);
  ASSERT_EQ(*Adopt(*content, true, source_), AdoptMethod::kHardLink);
  {
    std::vector<std::jthread> threads;
    for (uint32_t n = 0; n < 4; ++n) {
      threads.emplace_back([&content, n] { EXPECT_TRUE(content->AddPieceInPlace(PieceNumber(n), std::nullopt).ok()); });
    }
  }
  EXPECT_TRUE(content->complete());
  EXPECT_EQ(BytesIn(*content), BytesOf(1, kSize));
}

// Needs the right to mount a file system.
TEST_F(AdoptionTest, AReflinkSharesBlocksAndNothingElse) {
  const std::string image = dir_ / "image";
  const std::string mount = dir_ / "mount";
  std::filesystem::create_directory(mount);
  const auto run = [](const std::string& command) { return std::system(command.c_str()) == 0; };
  if (!run(StrCat("truncate -s 512M ", image, " && mkfs.xfs -q -m reflink=1 ", image,
                  " >/dev/null 2>&1 && mount -o loop ", image, " ", mount, " >/dev/null 2>&1"))) {
    GTEST_SKIP() << "no file system with reflinks can be mounted here";
  }
  store_dir_ = StrCat(mount, "/store");
  OpenStore();
  source_ = StrCat(mount, "/source");
  WriteFile(source_, BytesOf(1, kSize));
  {
    const auto content = Make(1, kSize);
    const auto how = Adopt(*content, /*hard_link=*/true, source_);
    ASSERT_TRUE(how.ok()) << how.status();
    EXPECT_EQ(*how, AdoptMethod::kReflink) << "even when a link is allowed: it is the safer one";
    EXPECT_EQ(std::filesystem::hard_link_count(source_), 1u);
    EXPECT_EQ(store_->usage().reserved_bytes, 0u);
    AddAll(*content);
    EXPECT_EQ(store_->usage().content_bytes, kSize);
    WriteFile(source_, "something else");
    EXPECT_EQ(BytesIn(*content), BytesOf(1, kSize));
  }
  store_.reset();
  EXPECT_TRUE(run(StrCat("umount ", mount)));
}

}  // namespace
}  // namespace dragonfly::storage
