// SPDX-License-Identifier: Apache-2.0
// Full disks and full budgets, on file systems of the test's own where it may mount them.
#include <fcntl.h>
#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <sys/mman.h>
#include <sys/mount.h>
#include <sys/resource.h>
#include <sys/vfs.h>
#include <unistd.h>

#include <chrono>
#include <cstdlib>
#include <string>

#include "storage/shortage.h"
#include "tests/unit/storage/store_fixture.h"

namespace dragonfly::storage {
namespace {

using ::testing::HasSubstr;
using ::testing::StartsWith;

constexpr uint64_t kMiB = 1 << 20;

// A mounted directory, unmounted at the end.
class Mount {
 public:
  explicit Mount(std::string path) : path_(std::move(path)) { std::filesystem::create_directory(path_); }
  Mount(const Mount&) = delete;
  Mount& operator=(const Mount&) = delete;
  ~Mount() {
    if (mounted_) ::umount2(path_.c_str(), MNT_DETACH);
  }
  bool Tmpfs(uint64_t bytes) {
    return mounted_ = ::mount("tmpfs", path_.c_str(), "tmpfs", 0, StrCat("size=", bytes).c_str()) == 0;
  }
  // A file system made by `make` in a file of `bytes`; `image` is its path.
  bool Loop(const std::string& make, const std::string& image, uint64_t bytes) {
    const UniqueFd file(::open(image.c_str(), O_RDWR | O_CREAT | O_CLOEXEC, 0600));
    if (!file.valid() || ::ftruncate(file.get(), static_cast<off_t>(bytes)) != 0) return false;
    const std::string line =
        StrCat("(", make, " ", image, " && mount -o loop ", image, " ", path_, ") >/dev/null 2>&1");
    return mounted_ = std::system(line.c_str()) == 0;
  }
  const std::string& path() const { return path_; }

 private:
  const std::string path_;
  bool mounted_ = false;
};

class SpaceTest : public StoreTest {
 protected:
  // The store on a tmpfs of `bytes`; false when it cannot be mounted.
  bool OpenOnTmpfs(uint64_t bytes) {
    if (!disk_.Tmpfs(bytes)) return false;
    store_dir_ = disk_.path() + "/store";
    OpenStore();
    return store_ != nullptr;
  }
  // Leaves `bytes` free on the disk.
  void FillUp(uint64_t bytes) {
    const UniqueFd file(::open((disk_.path() + "/filler").c_str(), O_RDWR | O_CREAT | O_CLOEXEC, 0600));
    struct statfs st;
    ASSERT_EQ(::fstatfs(file.get(), &st), 0);
    const uint64_t free = uint64_t{st.f_bavail} * static_cast<uint64_t>(st.f_bsize);
    ASSERT_GT(free, bytes);
    ASSERT_EQ(::fallocate(file.get(), 0, 0, static_cast<off_t>(free - bytes)), 0);
  }

  Mount disk_{dir_ / "disk"};
};

#define MOUNT_OR_SKIP(condition) \
  if (!(condition)) GTEST_SKIP() << "mounting a file system is not permitted here (needs root)"

TEST_F(SpaceTest, NothingIsEvictedForWantOfADescriptor) {
  OpenStore();
  bool asked = false;
  store_->SetRoomMaker([&](const TaskId&, uint64_t) -> uint64_t {
    asked = true;
    return 0;
  });
  rlimit before;
  ASSERT_EQ(::getrlimit(RLIMIT_NOFILE, &before), 0);
  rlimit none = before;
  none.rlim_cur = 0;
  ASSERT_EQ(::setrlimit(RLIMIT_NOFILE, &none), 0);
  const absl::Status refused = store_->FindOrCreate(IdOf(1), Shape(kMiB, kMiB)).status();
  ASSERT_EQ(::setrlimit(RLIMIT_NOFILE, &before), 0);
  EXPECT_TRUE(absl::IsResourceExhausted(refused)) << refused;
  EXPECT_FALSE(LacksSpace(refused));
  EXPECT_FALSE(asked);
  EXPECT_TRUE(store_->FindOrCreate(IdOf(1), Shape(kMiB, kMiB)).ok());
}

TEST_F(SpaceTest, RefusesWhatDoesNotFitBeforeAByteIsWritten) {
  MOUNT_OR_SKIP(OpenOnTmpfs(8 * kMiB));
  const absl::Status refused = store_->FindOrCreate(IdOf(1), Shape(16 * kMiB, kMiB)).status();
  EXPECT_TRUE(LacksSpace(refused)) << refused;
  EXPECT_THAT(std::string(refused.message()),
              StartsWith(StrCat("no space left on device: ", store_dir_, ": 16777216 bytes do not fit into ")));
  EXPECT_EQ(store_->Find(IdOf(1)), nullptr);
}

TEST_F(SpaceTest, ADiskThatFillsUpInTheMiddleOfAPieceEndsItWithTheNumbers) {
  MOUNT_OR_SKIP(OpenOnTmpfs(32 * kMiB));
  // Of unknown length: nothing is allocated for it beforehand.
  auto content = store_->FindOrCreate(IdOf(1), Shape(std::nullopt, 8 * kMiB));
  ASSERT_TRUE(content.ok()) << content.status();
  auto writer = (*content)->BeginPiece(PieceNumber(0));
  ASSERT_TRUE(writer.ok()) << writer.status();
  const std::string bytes = BytesOf(1, kMiB);
  ASSERT_TRUE(writer->Append(AsBytes(bytes)).ok());
  FillUp(2 * kMiB);
  absl::Status status;
  uint64_t written = 0;
  while (status.ok() && written < 8 * kMiB) {
    status = writer->Append(AsBytes(bytes));
    written += bytes.size();
  }
  EXPECT_TRUE(absl::IsResourceExhausted(status)) << status;
  EXPECT_LE(written, 4 * kMiB);
  EXPECT_THAT(std::string(status.message()), HasSubstr(StrCat("piece 0: no space left on device: ", store_dir_, ": ")));
  EXPECT_THAT(std::string(status.message()), HasSubstr(" available of 33554432 bytes; contents take 0, "));
}

TEST_F(SpaceTest, RoomIsMadeInTheMiddleOfAPiece) {
  MOUNT_OR_SKIP(OpenOnTmpfs(32 * kMiB));
  MakeComplete(7, 6 * kMiB);
  std::vector<uint64_t> asked;
  store_->SetRoomMaker([&](const TaskId& keep, uint64_t bytes) -> uint64_t {
    EXPECT_EQ(keep, IdOf(1));
    asked.push_back(bytes);
    return store_->Delete(IdOf(7)).ok() ? 6 * kMiB : 0;
  });
  auto content = store_->FindOrCreate(IdOf(1), Shape(std::nullopt, 4 * kMiB));
  ASSERT_TRUE(content.ok()) << content.status();
  auto writer = (*content)->BeginPiece(PieceNumber(0));
  ASSERT_TRUE(writer.ok()) << writer.status();
  FillUp(kMiB);
  const std::string bytes = BytesOf(1, 4 * kMiB);
  for (size_t at = 0; at < bytes.size(); at += kMiB) {
    const absl::Status appended = writer->Append(AsBytes(std::string_view(bytes).substr(at, kMiB)));
    ASSERT_TRUE(appended.ok()) << appended;
  }
  const auto piece = writer->Commit(Digest::OfCrc32(Crc32(bytes)), "", TrafficType::kBackToSource);
  ASSERT_TRUE(piece.ok()) << piece.status();
  EXPECT_EQ(asked.size(), 1u);
  EXPECT_EQ(ReadPiece(*(*content)->OpenPiece(PieceNumber(0))), bytes);
  EXPECT_EQ(store_->Find(IdOf(7)), nullptr);
  store_->SetRoomMaker({});
}

TEST_F(SpaceTest, RoomIsMadeBeforeADownloadIsRefused) {
  OpenStore(/*keep=*/false, /*capacity_bytes=*/100'000);
  MakeComplete(7, 80'000);
  int asked = 0;
  store_->SetRoomMaker([&](const TaskId& keep, uint64_t bytes) -> uint64_t {
    EXPECT_EQ(keep, IdOf(1));
    EXPECT_EQ(bytes, 50'000u);
    ++asked;
    return store_->Delete(IdOf(7)).ok() ? 80'000 : 0;
  });
  EXPECT_NE(Make(1, 50'000), nullptr);
  EXPECT_EQ(asked, 1);
  // What nothing can be done about is refused as ever.
  store_->SetRoomMaker([](const TaskId&, uint64_t) -> uint64_t { return 0; });
  const absl::Status refused = store_->FindOrCreate(IdOf(2), Shape(90'000)).status();
  EXPECT_TRUE(absl::IsResourceExhausted(refused)) << refused;
  store_->SetRoomMaker({});
}

TEST_F(SpaceTest, RoomIsMadeForAPieceThatWasNotReserved) {
  OpenStore(/*keep=*/false, /*capacity_bytes=*/3 * kPiece);
  MakeComplete(7, 3 * kPiece);
  store_->SetRoomMaker([&](const TaskId&, uint64_t bytes) -> uint64_t {
    EXPECT_EQ(bytes, kPiece);
    return store_->Delete(IdOf(7)).ok() ? 3 * kPiece : 0;
  });
  auto content = Make(1, std::nullopt);
  EXPECT_TRUE(content->BeginPiece(PieceNumber(0)).ok());
  store_->SetRoomMaker({});
}

TEST_F(SpaceTest, AContentIsInUseWhileItIsWrittenReadOrExported) {
  OpenStore();
  auto content = Make(1, kPiece);
  EXPECT_FALSE(content->in_use());
  {
    auto writer = content->BeginPiece(PieceNumber(0));
    ASSERT_TRUE(writer.ok());
    EXPECT_TRUE(content->in_use());
    ASSERT_TRUE(writer->Append(AsBytes(BytesOf(1, kPiece))).ok());
    ASSERT_TRUE(writer->Commit(std::nullopt, "", TrafficType::kBackToSource).ok());
  }
  EXPECT_FALSE(content->in_use());
  {
    absl::StatusOr<PieceBytes> bytes = content->OpenPiece(PieceNumber(0));
    ASSERT_TRUE(bytes.ok());
    const std::shared_ptr<const UniqueFd> file = std::move(bytes->file);
    EXPECT_TRUE(content->in_use());
  }
  EXPECT_FALSE(content->in_use());
}

TEST_F(SpaceTest, TellsTheBlocksOfItsFiles) {
  OpenStore();
  auto content = MakeComplete(1, 10 * kPiece);
  absl::StatusOr<TaskContent::Blocks> blocks = content->ReadBlocks();
  ASSERT_TRUE(blocks.ok()) << blocks.status();
  EXPECT_GE(blocks->content_bytes, 10 * kPiece);
  EXPECT_LT(blocks->content_bytes, 20 * kPiece);
  EXPECT_GT(blocks->metadata_bytes, 0u);
  EXPECT_FALSE(blocks->linked);
  const auto method = content->ExportTo(dir_ / "output", ExportOptions());
  ASSERT_TRUE(method.ok()) << method.status();
  ASSERT_EQ(*method, ExportMethod::kHardLink);
  blocks = content->ReadBlocks();
  ASSERT_TRUE(blocks.ok());
  EXPECT_TRUE(blocks->linked);
}

// How many pages of the file are in memory.
size_t ResidentPages(const std::string& path) {
  const UniqueFd file(::open(path.c_str(), O_RDONLY | O_CLOEXEC));
  const auto size = static_cast<size_t>(std::filesystem::file_size(path));
  void* const mapped = ::mmap(nullptr, size, PROT_READ, MAP_SHARED, file.get(), 0);
  if (mapped == MAP_FAILED) return SIZE_MAX;
  std::vector<unsigned char> pages((size + 4095) / 4096);
  ::mincore(mapped, size, pages.data());
  ::munmap(mapped, size);
  size_t resident = 0;
  for (const unsigned char page : pages) resident += page & 1;
  return resident;
}

TEST_F(SpaceTest, GivesThePageCacheOfAContentBackAndReadsItAgain) {
  struct statfs st;
  ASSERT_EQ(::statfs(dir_.path().c_str(), &st), 0);
  if (st.f_type == 0x01021994) GTEST_SKIP() << "a tmpfs is memory itself";
  OpenStore();
  auto content = MakeComplete(1, 64 * kPiece);
  const UniqueFd file(::open(ContentPath(1).c_str(), O_RDONLY | O_CLOEXEC));
  ASSERT_EQ(::fsync(file.get()), 0);  // only what is on the disk can go
  EXPECT_EQ(ResidentPages(ContentPath(1)), 64u);
  // The kernel spares pages that it is busy with at the moment.
  const auto deadline = std::chrono::steady_clock::now() + std::chrono::seconds(10);
  do {
    ASSERT_TRUE(content->DropPageCache().ok());
  } while (ResidentPages(ContentPath(1)) > 0 && std::chrono::steady_clock::now() < deadline);
  EXPECT_EQ(ResidentPages(ContentPath(1)), 0u);
  ASSERT_TRUE(content->ReadAhead(UINT64_MAX).ok());
  while (ResidentPages(ContentPath(1)) < 64 && std::chrono::steady_clock::now() < deadline) ::usleep(1000);
  EXPECT_EQ(ResidentPages(ContentPath(1)), 64u);
}

class ReflinkTest : public SpaceTest, public ::testing::WithParamInterface<const char*> {};

TEST_P(ReflinkTest, AnOutputThatCannotBeLinkedSharesTheBlocks) {
  const std::string make = GetParam();
  const std::string program = make.substr(0, make.find(' '));
  if (std::system(StrCat("command -v ", program, " >/dev/null 2>&1").c_str()) != 0) {
    GTEST_SKIP() << program << " is not installed";
  }
  MOUNT_OR_SKIP(disk_.Loop(make, dir_ / "image", 512 * kMiB));
  store_dir_ = disk_.path() + "/store";
  OpenStore();
  constexpr size_t kSize = 8 * kMiB;
  auto content = store_->FindOrCreate(IdOf(1), Shape(kSize, kMiB));
  ASSERT_TRUE(content.ok()) << content.status();
  const std::string bytes = BytesOf(1, kSize);
  for (uint32_t n = 0; n < 8; ++n) {
    ASSERT_TRUE(WritePiece(**content, n, std::string_view(bytes).substr(n * kMiB, kMiB)).ok());
  }
  // Two mounts of one file system: a link across them is refused (EXDEV), a clone is made.
  Mount second(dir_ / "second");
  ASSERT_EQ(std::system(StrCat("mount --bind ", disk_.path(), " ", second.path()).c_str()), 0);
  const auto method = (*content)->ExportTo(second.path() + "/output", ExportOptions());
  std::system(StrCat("umount ", second.path()).c_str());
  ASSERT_TRUE(method.ok()) << method.status();
  EXPECT_EQ(*method, ExportMethod::kReflink);
  EXPECT_EQ(ReadFile(disk_.path() + "/output"), bytes);
  // The output is its own: writing to it leaves the store's content as it is.
  WriteFile(disk_.path() + "/output", "changed");
  EXPECT_EQ(ReadPiece(*(*content)->OpenPiece(PieceNumber(0))), bytes.substr(0, kMiB));
  *content = nullptr;
  store_.reset();
}

INSTANTIATE_TEST_SUITE_P(FileSystems, ReflinkTest, ::testing::Values("mkfs.xfs -q -m reflink=1", "mkfs.btrfs -q"),
                         [](const auto& info) { return std::string(info.index == 0 ? "Xfs" : "Btrfs"); });

}  // namespace
}  // namespace dragonfly::storage
