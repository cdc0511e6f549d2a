// SPDX-License-Identifier: Apache-2.0
#include "cli/output_tree.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <unistd.h>

#include <filesystem>
#include <fstream>

namespace dragonfly::cli {
namespace {

namespace fs = std::filesystem;
using testing::HasSubstr;

class OutputTreeTest : public testing::Test {
 protected:
  OutputTreeTest() { fs::create_directories(dir_ + "/outside"); }
  ~OutputTreeTest() override { fs::remove_all(dir_); }

  OutputTree Open() { return *OutputTree::Open(dir_ + "/root"); }

  const std::string dir_ = testing::TempDir() + "output_tree_" + std::to_string(::getpid());
};

TEST_F(OutputTreeTest, MakesDirectoriesAsTheyAreNeeded) {
  const OutputTree tree = Open();
  EXPECT_TRUE(tree.MakeParents("a").ok());
  EXPECT_TRUE(tree.MakeParents("b/c/file").ok());
  EXPECT_TRUE(tree.MakeParents("b/c/other").ok());
  EXPECT_TRUE(fs::is_directory(dir_ + "/root/b/c"));
  EXPECT_FALSE(fs::exists(dir_ + "/root/b/c/file"));
  EXPECT_EQ(tree.PathOf("b/c"), dir_ + "/root/b/c");
  EXPECT_FALSE(OutputTree::Open(dir_ + "/none/root").ok());
}

TEST_F(OutputTreeTest, FollowsNoSymbolicLink) {
  const OutputTree tree = Open();
  fs::create_directory_symlink(dir_ + "/outside", dir_ + "/root/link");
  EXPECT_THAT(tree.MakeParents("link/x/file").message(), HasSubstr(dir_ + "/root/link"));
  EXPECT_FALSE(tree.MakeDirectories("link").ok());
  EXPECT_TRUE(fs::is_empty(dir_ + "/outside"));
  EXPECT_FALSE(tree.Look("link/x").ok());
  EXPECT_EQ(tree.Look("link")->kind, OutputTree::Kind::kOther);
}

TEST_F(OutputTreeTest, TellsWhatIsThere) {
  const OutputTree tree = Open();
  std::ofstream(dir_ + "/root/file") << "12345";
  ASSERT_TRUE(tree.MakeDirectories("d").ok());
  EXPECT_EQ(tree.Look("none")->kind, OutputTree::Kind::kNothing);
  EXPECT_EQ(tree.Look("file")->kind, OutputTree::Kind::kFile);
  EXPECT_EQ(tree.Look("file")->length, 5u);
  EXPECT_EQ(tree.Look("d")->kind, OutputTree::Kind::kOther);
  EXPECT_THAT(tree.MakeParents("file/x").message(), HasSubstr("is not a directory"));
}

}  // namespace
}  // namespace dragonfly::cli
