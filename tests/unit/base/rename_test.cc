// SPDX-License-Identifier: Apache-2.0
#include "base/rename.h"

#include <fcntl.h>
#include <gtest/gtest.h>
#include <stdio.h>

#include <cerrno>
#include <cstdlib>
#include <filesystem>
#include <fstream>
#include <iterator>
#include <optional>
#include <string>

#include "tests/support/fuse_mirror.h"
#include "tests/support/temp_dir.h"

namespace dragonfly {
namespace {

enum class Kind { kLocal, kFuse };

// The local file system refuses to replace by itself; the other one cannot.
class RenameWithoutReplacingTest : public ::testing::TestWithParam<Kind> {
 protected:
  void SetUp() override {
    if (GetParam() == Kind::kLocal) {
      std::filesystem::create_directory(Behind());
      return;
    }
    mirror_.emplace(Behind(), root_.path() / "mirror");
    if (!mirror_->mounted()) GTEST_SKIP() << "no file system can be mounted by bindfs here";
    Write("flags", "");
    ASSERT_EQ(::renameat2(AT_FDCWD, Path("flags").c_str(), AT_FDCWD, Path("other").c_str(), RENAME_NOREPLACE), -1);
    ASSERT_EQ(errno, EINVAL) << "this one would test nothing";
    std::filesystem::remove(Path("flags"));
  }

  std::string Behind() const { return root_.path() / "behind"; }
  std::string Path(const std::string& name) const {
    return (mirror_.has_value() ? mirror_->path() : Behind()) + "/" + name;
  }
  void Write(const std::string& name, const std::string& content) const { std::ofstream(Path(name)) << content; }
  std::string Read(const std::string& name) const {
    std::ifstream file(Path(name));
    return {std::istreambuf_iterator<char>(file), {}};
  }
  size_t FileCount() const {
    return static_cast<size_t>(
        std::distance(std::filesystem::directory_iterator(Behind()), std::filesystem::directory_iterator()));
  }

  const testing::TempDir root_;
  std::optional<testing::FuseMirror> mirror_;
};

TEST_P(RenameWithoutReplacingTest, GivesAFileAFreeName) {
  Write("from", "new");
  const absl::Status renamed = RenameWithoutReplacing(AT_FDCWD, Path("from"), Path("to"));
  ASSERT_TRUE(renamed.ok()) << renamed;
  EXPECT_EQ(Read("to"), "new");
  EXPECT_EQ(FileCount(), 1u);
}

TEST_P(RenameWithoutReplacingTest, LeavesBothFilesWhenTheNameIsTaken) {
  Write("from", "new");
  Write("to", "old");
  EXPECT_EQ(RenameWithoutReplacing(AT_FDCWD, Path("from"), Path("to")).code(), absl::StatusCode::kAlreadyExists);
  EXPECT_EQ(Read("to"), "old");
  EXPECT_EQ(Read("from"), "new");
}

TEST_P(RenameWithoutReplacingTest, NamesWhatIsNotThere) {
  const absl::Status renamed = RenameWithoutReplacing(AT_FDCWD, Path("none"), Path("to"));
  EXPECT_EQ(renamed.code(), absl::StatusCode::kNotFound);
  EXPECT_NE(renamed.message().find(Path("none")), std::string::npos) << renamed;
}

TEST_P(RenameWithoutReplacingTest, SaysWhenThisFileCanBeGivenNoName) {
  Write("from", "new");
  // A file that may only be appended to cannot be linked: the answer is that of a file system without links.
  const std::string file = Behind() + "/from";
  if (std::system(("chattr +a '" + file + "' 2>/dev/null").c_str()) != 0) GTEST_SKIP() << "no chattr here";
  const absl::Status renamed = RenameWithoutReplacing(AT_FDCWD, Path("from"), Path("to"));
  EXPECT_EQ(std::system(("chattr -a '" + file + "'").c_str()), 0);
  if (GetParam() == Kind::kLocal) {
    EXPECT_EQ(renamed.code(), absl::StatusCode::kPermissionDenied) << renamed;
  } else {
    EXPECT_EQ(renamed.code(), absl::StatusCode::kUnimplemented) << renamed;
    EXPECT_NE(renamed.message().find("can neither rename without replacing nor link"), std::string::npos) << renamed;
  }
  EXPECT_EQ(FileCount(), 1u);
}

INSTANTIATE_TEST_SUITE_P(FileSystems, RenameWithoutReplacingTest, ::testing::Values(Kind::kLocal, Kind::kFuse),
                         [](const auto& info) { return info.param == Kind::kLocal ? "Local" : "Fuse"; });

}  // namespace
}  // namespace dragonfly
