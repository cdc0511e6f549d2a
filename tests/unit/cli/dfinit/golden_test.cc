// SPDX-License-Identifier: Apache-2.0
// The whole program on trees of configuration files: golden/<case>/ holds dfinit.yaml, the files before and after.
#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <sys/stat.h>

#include <algorithm>
#include <cstdlib>
#include <filesystem>
#include <fstream>
#include <iterator>
#include <map>
#include <string>
#include <vector>

#include "base/text.h"
#include "cli/dfinit/dfinit.h"
#include "cli/dfinit/marked_text.h"
#include "tests/support/temp_dir.h"

namespace dragonfly::cli {
namespace {

namespace fs = std::filesystem;
using dragonfly::testing::TempDir;

fs::path GoldenDir() { return fs::path(DF_SOURCE_DIR) / "tests/unit/cli/dfinit/golden"; }

std::string ReadAll(const fs::path& path) {
  std::ifstream file(path, std::ios::binary);
  return std::string(std::istreambuf_iterator<char>(file), {});
}

// Files below `root` by their paths, without the copies of originals.
std::map<std::string, std::string> Files(const fs::path& root) {
  std::map<std::string, std::string> files;
  if (!fs::exists(root)) return files;
  for (const auto& entry : fs::recursive_directory_iterator(root)) {
    if (!entry.is_regular_file() || entry.path().string().ends_with(".before-dfinit")) continue;
    files[fs::relative(entry.path(), root).string()] = ReadAll(entry.path());
  }
  return files;
}

std::map<std::string, ino_t> Inodes(const fs::path& root) {
  std::map<std::string, ino_t> inodes;
  for (const auto& entry : fs::recursive_directory_iterator(root)) {
    struct stat status{};
    ::stat(entry.path().c_str(), &status);
    inodes[entry.path().string()] = status.st_ino;
  }
  return inodes;
}

std::vector<std::string> Cases() {
  std::vector<std::string> names;
  for (const auto& entry : fs::directory_iterator(GoldenDir())) names.push_back(entry.path().filename().string());
  std::sort(names.begin(), names.end());
  return names;
}

class DfinitGolden : public ::testing::TestWithParam<std::string> {
 protected:
  void SetUp() override {
    if (fs::exists(Case() / "before")) fs::copy(Case() / "before", root_.path(), fs::copy_options::recursive);
  }
  fs::path Case() const { return GoldenDir() / GetParam(); }
  int Run(std::vector<std::string> options = {}) const {
    std::vector<std::string> arguments = {"--config", Case() / "dfinit.yaml", "--root", root_.path(), "-l", "warn"};
    arguments.insert(arguments.end(), options.begin(), options.end());
    return RunDfinit(arguments);
  }
  std::map<std::string, std::string> Now() const { return Files(root_.path()); }

  // The many runs sync each file that they write; in memory that costs nothing.
  struct InMemory {
    InMemory() {
      if (fs::exists("/dev/shm")) ::setenv("TMPDIR", "/dev/shm", 1);
    }
  };
  InMemory in_memory_;
  TempDir root_;
};

TEST_P(DfinitGolden, InstallsWhatTheFilesSay) {
  ASSERT_EQ(Run(), 0);
  EXPECT_EQ(Now(), Files(Case() / "after"));
}

TEST_P(DfinitGolden, ChangesNothingASecondTime) {
  ASSERT_EQ(Run(), 0);
  const auto inodes = Inodes(root_.path());
  ASSERT_EQ(Run(), 0);
  EXPECT_EQ(Inodes(root_.path()), inodes) << "a file was written again";
}

TEST_P(DfinitGolden, DryRunChangesNothingAndPrintsAPatch) {
  ::testing::internal::CaptureStdout();
  const int code = Run({"--dry-run"});
  const std::string diff = ::testing::internal::GetCapturedStdout();
  ASSERT_EQ(code, 0);
  EXPECT_EQ(Now(), Files(Case() / "before"));

  const std::string patch = root_.Write("dry-run.diff", diff);
  const std::string command =
      StrCat("cd '", root_.path().string(), "' && patch -s -p1 < dry-run.diff && rm dry-run.diff");
  ASSERT_EQ(std::system(command.c_str()), 0) << diff;
  EXPECT_EQ(Now(), Files(Case() / "after"));
}

TEST_P(DfinitGolden, UninstallRestoresEveryByteAndLeavesNothing) {
  ASSERT_EQ(Run(), 0);
  ASSERT_EQ(Run({"--uninstall"}), 0);
  EXPECT_EQ(Now(), Files(Case() / "before"));
  for (const auto& entry : fs::recursive_directory_iterator(root_.path())) {
    EXPECT_FALSE(entry.path().string().ends_with(".before-dfinit")) << entry.path();
  }
  ASSERT_EQ(Run({"--uninstall"}), 0);
  EXPECT_EQ(Now(), Files(Case() / "before"));
}

// Files of others are not as regular as the ones here: whatever line is missing, an edit is right or refused.
TEST_P(DfinitGolden, AnyFileWithoutOneOfItsLinesIsEditedAndRestoredOrLeftAlone) {
  for (const auto& [name, content] : Files(Case() / "before")) {
    const fs::path file = root_.path() / name;
    const std::vector<std::string_view> lines = LinesOf(content);
    for (size_t missing = 0; missing < lines.size(); ++missing) {
      if (TrimSpace(lines[missing]).empty() || TrimSpace(lines[missing]).starts_with('#')) continue;
      std::string text;
      for (size_t i = 0; i < lines.size(); ++i) {
        if (i != missing) text.append(lines[i]).append("\n");
      }
      const auto write = [&] { std::ofstream(file, std::ios::binary | std::ios::trunc) << text; };
      write();
      const auto before = Now();
      ::testing::internal::CaptureStderr();
      const bool installed = Run() == 0;
      const bool uninstalled = !installed || Run({"--uninstall"}) == 0;
      const std::string errors = ::testing::internal::GetCapturedStderr();
      ASSERT_TRUE(uninstalled) << name << " without: " << lines[missing] << "\n" << errors;
      ASSERT_EQ(Now(), before) << name << " without: " << lines[missing] << "\n" << errors;
    }
    std::ofstream(file, std::ios::binary | std::ios::trunc) << content;
  }
}

INSTANTIATE_TEST_SUITE_P(Cases, DfinitGolden, ::testing::ValuesIn(Cases()), [](const auto& info) {
  std::string name = info.param;
  std::replace(name.begin(), name.end(), '-', '_');
  return name;
});

}  // namespace
}  // namespace dragonfly::cli
