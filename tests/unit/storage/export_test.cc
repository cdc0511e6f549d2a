// SPDX-License-Identifier: Apache-2.0
#include <fcntl.h>
#include <sys/resource.h>
#include <sys/statfs.h>

#include "tests/support/fuse_mirror.h"
#include "tests/unit/storage/store_fixture.h"

namespace dragonfly::storage {
namespace {

class ExportTest : public StoreTest {
 protected:
  void SetUp() override { OpenStore(); }

  static ExportOptions Overwrite() {
    ExportOptions options;
    options.overwrite = true;
    return options;
  }
  static ExportOptions ForceHardLink() {
    ExportOptions options;
    options.force_hard_link = true;
    return options;
  }
  static ino_t InodeOf(const std::string& path) {
    struct stat st;
    return ::lstat(path.c_str(), &st) == 0 ? st.st_ino : 0;
  }
  static size_t EntriesIn(const std::string& directory) {
    size_t count = 0;
    for (const auto& entry : std::filesystem::directory_iterator(directory)) count += entry.exists() ? 1 : 0;
    return count;
  }
  // A directory on another file system than the store; null when there is none.
  std::unique_ptr<TempDir> ElsewhereOrNull() {
    struct stat ours, shm;
    if (::stat("/dev/shm", &shm) != 0 || ::stat(dir_.path().c_str(), &ours) != 0 || shm.st_dev == ours.st_dev)
      return nullptr;
    return std::make_unique<TempDir>("/dev/shm");
  }
};

TEST_F(ExportTest, LinksACompleteContent) {
  const auto content = MakeComplete(1, 3 * kPiece - 7);
  const std::string output = dir_ / "output";
  const auto method = content->ExportTo(output, ExportOptions());
  ASSERT_TRUE(method.ok()) << method.status();
  EXPECT_EQ(*method, ExportMethod::kHardLink);
  EXPECT_EQ(InodeOf(output), InodeOf(content->path()));
  EXPECT_EQ(ReadFile(output), BytesOf(1, 3 * kPiece - 7));
  EXPECT_EQ(*content->ExportTo(output, ExportOptions()), ExportMethod::kAlreadyLinked);
  EXPECT_EQ(*content->ExportTo(output, ForceHardLink()), ExportMethod::kAlreadyLinked);
  EXPECT_EQ(*content->ExportTo(output, Overwrite()), ExportMethod::kAlreadyLinked);
  EXPECT_EQ(*content->ExportTo(dir_ / "second", ForceHardLink()), ExportMethod::kHardLink);
  EXPECT_EQ(EntriesIn(dir_.path()), 3u);
  ASSERT_TRUE(store_->Delete(IdOf(1)).ok());
  EXPECT_EQ(ReadFile(output), BytesOf(1, 3 * kPiece - 7));
}

TEST_F(ExportTest, ExportsAnEmptyContent) {
  const auto content = Make(1, 0);
  ASSERT_TRUE(content->ExportTo(dir_ / "output", ExportOptions()).ok());
  EXPECT_EQ(std::filesystem::file_size(dir_ / "output"), 0u);
}

TEST_F(ExportTest, RefusesAnIncompleteContent) {
  const auto content = Make(1, 2 * kPiece);
  ASSERT_TRUE(WritePiece(*content, 0, BytesOf(1, kPiece)).ok());
  EXPECT_TRUE(absl::IsFailedPrecondition(content->ExportTo(dir_ / "output", ForceHardLink()).status()));
  EXPECT_TRUE(absl::IsFailedPrecondition(content->ExportRangeTo(dir_ / "output", {0, kPiece + 1}, ExportOptions())));
  EXPECT_EQ(EntriesIn(dir_.path()), 1u);
}

TEST_F(ExportTest, LeavesAnExistingOutputAloneUnlessToldOtherwise) {
  const auto content = MakeComplete(1, kPiece);
  const std::string output = dir_ / "output";
  WriteFile(output, "mine");
  const absl::Status refused = content->ExportTo(output, ExportOptions()).status();
  EXPECT_TRUE(absl::IsAlreadyExists(refused));
  EXPECT_EQ(refused.message(), StrCat("output path ", output, " is already exists"));
  EXPECT_TRUE(absl::IsAlreadyExists(content->ExportRangeTo(output, {0, 5}, ExportOptions())));
  EXPECT_EQ(ReadFile(output), "mine");
  std::filesystem::create_symlink(content->path(), dir_ / "link");
  EXPECT_TRUE(absl::IsAlreadyExists(content->ExportTo(dir_ / "link", ExportOptions()).status()));

  EXPECT_EQ(*content->ExportTo(output, Overwrite()), ExportMethod::kHardLink);
  EXPECT_EQ(ReadFile(output), BytesOf(1, kPiece));
  EXPECT_EQ(EntriesIn(dir_.path()), 3u);
}

TEST_F(ExportTest, CopiesToAnotherFileSystem) {
  const auto elsewhere = ElsewhereOrNull();
  if (elsewhere == nullptr) GTEST_SKIP() << "no second file system";
  const auto content = store_->FindOrCreate(IdOf(1), Shape(5 << 20, 1 << 20));
  const std::string bytes = BytesOf(1, 5 << 20);
  for (uint32_t n = 0; n < 5; ++n)
    ASSERT_TRUE(WritePiece(**content, n, std::string_view(bytes).substr(n << 20, 1 << 20)).ok());
  const std::string output = *elsewhere / "output";
  const absl::Status refused = (*content)->ExportTo(output, ForceHardLink()).status();
  EXPECT_FALSE(refused.ok());
  EXPECT_EQ(EntriesIn(elsewhere->path()), 0u);
  EXPECT_EQ(*(*content)->ExportTo(output, ExportOptions()), ExportMethod::kCopy);
  EXPECT_EQ(ReadFile(output), bytes);
  struct stat st;
  ASSERT_EQ(::stat(output.c_str(), &st), 0);
  EXPECT_EQ(st.st_mode & 0600, 0600u);
  EXPECT_EQ(st.st_nlink, 1u);

  EXPECT_TRUE(absl::IsAlreadyExists((*content)->ExportTo(output, ExportOptions()).status()));
  WriteFile(output, "mine");
  EXPECT_EQ(*(*content)->ExportTo(output, Overwrite()), ExportMethod::kCopy);
  EXPECT_EQ(ReadFile(output), bytes);
  EXPECT_EQ(EntriesIn(elsewhere->path()), 1u);
}

TEST_F(ExportTest, KeepsHolesInACopy) {
  const auto elsewhere = ElsewhereOrNull();
  if (elsewhere == nullptr) GTEST_SKIP() << "no second file system";
  const uint64_t size = 8 << 20;
  std::string bytes(size, '\0');
  bytes.replace(1 << 20, 5, "hello");
  bytes.replace(size - 5, 5, "world");
  const auto content = store_->FindOrCreate(IdOf(1), Shape(size, size));
  ASSERT_TRUE(WritePiece(**content, 0, bytes).ok());
  const UniqueFd fd(::open(ContentPath(1).c_str(), O_RDWR | O_CLOEXEC));
  if (::fallocate(fd.get(), FALLOC_FL_PUNCH_HOLE | FALLOC_FL_KEEP_SIZE, 2 << 20, 5 << 20) != 0) {
    GTEST_SKIP() << "no holes here";
  }
  ASSERT_EQ(*(*content)->ExportTo(*elsewhere / "output", ExportOptions()), ExportMethod::kCopy);
  EXPECT_EQ(ReadFile(*elsewhere / "output"), bytes);
  struct stat st;
  ASSERT_EQ(::stat((*elsewhere / "output").c_str(), &st), 0);
  EXPECT_LE(static_cast<uint64_t>(st.st_blocks) * 512, 4u << 20);
}

TEST_F(ExportTest, CopiesARange) {
  const auto content = Make(1, 5 * kPiece);
  const std::string bytes = BytesOf(1, 5 * kPiece);
  for (const uint32_t n : {1u, 2u, 3u}) {
    ASSERT_TRUE(WritePiece(*content, n, std::string_view(bytes).substr(n * kPiece, kPiece)).ok());
  }
  const std::string output = dir_ / "output";
  ASSERT_TRUE(content->ExportRangeTo(output, {kPiece + 10, 2 * kPiece}, ExportOptions()).ok());
  EXPECT_EQ(ReadFile(output), bytes.substr(kPiece + 10, 2 * kPiece));
  EXPECT_TRUE(absl::IsAlreadyExists(content->ExportRangeTo(output, {kPiece, 1}, ExportOptions())));
  ASSERT_TRUE(content->ExportRangeTo(output, {kPiece, 1}, Overwrite()).ok());
  EXPECT_EQ(ReadFile(output), bytes.substr(kPiece, 1));
  EXPECT_TRUE(absl::IsInvalidArgument(content->ExportRangeTo(dir_ / "other", {kPiece, 1}, ForceHardLink())));
  EXPECT_TRUE(absl::IsFailedPrecondition(content->ExportRangeTo(dir_ / "other", {UINT64_MAX, 2}, ExportOptions())));
  EXPECT_EQ(EntriesIn(dir_.path()), 2u);
}

TEST_F(ExportTest, ReplacesNothingOnAFileSystemThatCannotRefuseTo) {
  const testing::FuseMirror mirror(dir_ / "behind", dir_ / "mirror");
  if (!mirror.mounted()) GTEST_SKIP() << "no file system can be mounted by bindfs here";
  const auto content = MakeComplete(1, 3 * kPiece);
  const std::string output = mirror.path() + "/output";
  const auto method = content->ExportTo(output, ExportOptions());
  ASSERT_TRUE(method.ok()) << method.status();
  EXPECT_EQ(*method, ExportMethod::kCopy);
  EXPECT_TRUE(ReadFile(output) == BytesOf(1, 3 * kPiece));
  EXPECT_EQ(EntriesIn(mirror.path()), 1u);
  const auto other = MakeComplete(2, kPiece);
  EXPECT_TRUE(absl::IsAlreadyExists(other->ExportTo(output, ExportOptions()).status()));
  EXPECT_TRUE(ReadFile(output) == BytesOf(1, 3 * kPiece));
  ASSERT_TRUE(other->ExportTo(output, Overwrite()).ok());
  EXPECT_TRUE(ReadFile(output) == BytesOf(2, kPiece));
  EXPECT_EQ(EntriesIn(mirror.path()), 1u);
}

TEST_F(ExportTest, RefusesPathsThatNameNoFile) {
  const auto content = MakeComplete(1, kPiece);
  using namespace std::string_literals;
  for (const std::string& path : {""s, "relative"s, "/"s, dir_ / "", dir_ / "..", dir_.path() + "/a\0b"s}) {
    EXPECT_TRUE(absl::IsInvalidArgument(content->ExportTo(path, ExportOptions()).status())) << path;
  }
  EXPECT_TRUE(absl::IsNotFound(content->ExportTo(dir_ / "missing/output", ExportOptions()).status()));
  EXPECT_FALSE(content->ExportTo(dir_ / "store", Overwrite()).ok());
  EXPECT_EQ(EntriesIn(dir_.path()), 1u);
}

TEST_F(ExportTest, NoticesWhenAUserWritesIntoALinkedOutput) {
  const auto content = MakeComplete(1, 3 * kPiece);
  const std::string output = dir_ / "output";
  ASSERT_EQ(*content->ExportTo(output, ExportOptions()), ExportMethod::kHardLink);
  EXPECT_TRUE(content->OpenPiece(PieceNumber(1)).ok());
  const UniqueFd user(::open(output.c_str(), O_WRONLY | O_CLOEXEC));
  // The kernel stamps files by the tick: later writes in the tick of the link would go unseen.
  const timespec later[2] = {{0, UTIME_OMIT}, {absl::ToTimeT(absl::Now()) + 5, 0}};
  ASSERT_EQ(::pwrite(user.get(), "mine", 4, kPiece), 4);
  ASSERT_EQ(::futimens(user.get(), later), 0);
  EXPECT_TRUE(content->OpenPiece(PieceNumber(0)).ok());  // is still what it was
  EXPECT_TRUE(absl::IsDataLoss(content->OpenPiece(PieceNumber(1)).status()));

  // The user keeps the file; the store begins anew with one of its own.
  EXPECT_EQ(content->finished_piece_count(), 0u);
  EXPECT_EQ(store_->usage().content_bytes, 0u);
  EXPECT_NE(InodeOf(output), InodeOf(content->path()));
  const std::string bytes = BytesOf(1, 3 * kPiece);
  for (uint32_t n = 0; n < 3; ++n) {
    ASSERT_TRUE(WritePiece(*content, n, std::string_view(bytes).substr(n * kPiece, kPiece)).ok());
  }
  EXPECT_EQ(ReadFile(content->path()), bytes);
  EXPECT_EQ(ReadFile(output).substr(kPiece, 4), "mine");
  OpenStore();
  EXPECT_TRUE(store_->Find(IdOf(1))->complete());
}

TEST_F(ExportTest, NoticesWhenAUserCutsALinkedOutput) {
  const auto content = MakeComplete(1, 3 * kPiece);
  ASSERT_TRUE(content->ExportTo(dir_ / "output", ExportOptions()).ok());
  std::filesystem::resize_file(dir_ / "output", 3 * kPiece + 1);
  EXPECT_TRUE(absl::IsDataLoss(content->ExportTo(dir_ / "second", ExportOptions()).status()));
  EXPECT_FALSE(content->complete());
  EXPECT_EQ(std::filesystem::file_size(dir_ / "output"), 3 * kPiece + 1);
}

// While it lives, the process can open no file.
class NoMoreFiles {
 public:
  NoMoreFiles() {
    EXPECT_EQ(::getrlimit(RLIMIT_NOFILE, &before_), 0);
    const rlimit none{0, before_.rlim_max};
    EXPECT_EQ(::setrlimit(RLIMIT_NOFILE, &none), 0);
  }
  NoMoreFiles(const NoMoreFiles&) = delete;
  NoMoreFiles& operator=(const NoMoreFiles&) = delete;
  ~NoMoreFiles() { EXPECT_EQ(::setrlimit(RLIMIT_NOFILE, &before_), 0); }

 private:
  rlimit before_{};
};

TEST_F(ExportTest, NeverWritesIntoTheUsersFileWhenItCannotMakeOneOfItsOwn) {
  const auto content = MakeComplete(1, 3 * kPiece);
  const std::string output = dir_ / "output";
  ASSERT_EQ(*content->ExportTo(output, ExportOptions()), ExportMethod::kHardLink);
  std::string theirs = BytesOf(1, 3 * kPiece);
  theirs.replace(kPiece, 4, "mine");
  const UniqueFd user(::open(output.c_str(), O_WRONLY | O_CLOEXEC));
  ASSERT_EQ(::pwrite(user.get(), "mine", 4, kPiece), 4);
  const timespec later[2] = {{0, UTIME_OMIT}, {absl::ToTimeT(absl::Now()) + 5, 0}};
  ASSERT_EQ(::futimens(user.get(), later), 0);
  {
    const NoMoreFiles no_more_files;
    EXPECT_TRUE(absl::IsDataLoss(content->OpenPiece(PieceNumber(1)).status()));
    EXPECT_EQ(content->finished_piece_count(), 0u);
    const absl::Status refused = content->BeginPiece(PieceNumber(0)).status();
    EXPECT_FALSE(refused.ok());
    EXPECT_NE(refused.message().find(content->path()), std::string::npos) << refused;
  }
  EXPECT_TRUE(ReadFile(output) == theirs);
  EXPECT_EQ(store_->usage().content_bytes, 0u);

  const std::string bytes = BytesOf(1, 3 * kPiece);
  for (uint32_t n = 0; n < 3; ++n) {
    ASSERT_TRUE(WritePiece(*content, n, std::string_view(bytes).substr(n * kPiece, kPiece)).ok());
  }
  EXPECT_TRUE(ReadFile(output) == theirs);
  EXPECT_TRUE(ReadFile(content->path()) == bytes);
  OpenStore();
  EXPECT_TRUE(store_->Find(IdOf(1))->complete());
}

TEST_F(ExportTest, ChecksALinkedContentAfterARestart) {
  MakeComplete(1, 3 * kPiece);
  MakeComplete(2, 3 * kPiece);
  ASSERT_TRUE(store_->Find(IdOf(1))->ExportTo(dir_ / "output", ExportOptions()).ok());
  ASSERT_TRUE(store_->Find(IdOf(2))->ExportTo(dir_ / "cut", ExportOptions()).ok());
  store_.reset();
  const UniqueFd user(::open((dir_ / "output").c_str(), O_WRONLY | O_CLOEXEC));
  ASSERT_EQ(::pwrite(user.get(), "mine", 4, 2 * kPiece), 4);
  std::filesystem::resize_file(dir_ / "cut", 5);
  std::filesystem::remove(dir_ / "cut");  // the link is gone, the damage is not
  OpenStore();
  const auto content = store_->Find(IdOf(1));
  EXPECT_TRUE(content->OpenPiece(PieceNumber(0)).ok());
  EXPECT_TRUE(absl::IsDataLoss(content->OpenPiece(PieceNumber(2)).status()));
  EXPECT_EQ(store_->Find(IdOf(2)), nullptr);
}

TEST_F(ExportTest, GoesOnServingWhenTheUserDeletesTheOutput) {
  const auto content = MakeComplete(1, 3 * kPiece);
  ASSERT_TRUE(content->ExportTo(dir_ / "output", ExportOptions()).ok());
  std::filesystem::remove(dir_ / "output");
  for (uint32_t n = 0; n < 3; ++n) EXPECT_TRUE(content->OpenPiece(PieceNumber(n)).ok());
  EXPECT_TRUE(content->complete());
}

}  // namespace
}  // namespace dragonfly::storage
