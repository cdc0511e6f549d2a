// SPDX-License-Identifier: Apache-2.0
#include "cli/output_file.h"

#include <gtest/gtest.h>
#include <unistd.h>

#include <filesystem>
#include <fstream>
#include <iterator>

namespace dragonfly::cli {
namespace {

class OutputFileTest : public testing::Test {
 protected:
  OutputFileTest() { std::filesystem::create_directories(dir_); }
  ~OutputFileTest() override { std::filesystem::remove_all(dir_); }

  std::string Read() {
    std::ifstream file(path_, std::ios::binary);
    return {std::istreambuf_iterator<char>(file), {}};
  }
  size_t FilesInDir() {
    return static_cast<size_t>(
        std::distance(std::filesystem::directory_iterator(dir_), std::filesystem::directory_iterator()));
  }

  const std::string dir_ = testing::TempDir() + "output_file_" + std::to_string(::getpid());
  const std::string path_ = dir_ + "/out";
};

TEST_F(OutputFileTest, TakesPiecesInAnyOrderAndAppearsWhenWhole) {
  auto file = OutputFile::Create(path_);
  ASSERT_TRUE(file.ok());
  ASSERT_TRUE(file->SetWindow({.offset = 0, .length = 10}).ok());
  ASSERT_TRUE(file->Write(5, "56789").ok());
  EXPECT_FALSE(std::filesystem::exists(path_));
  ASSERT_TRUE(file->Write(0, "01234").ok());
  const auto digest = Digest::Parse("crc32:" + std::to_string(Crc32("0123456789")));
  ASSERT_TRUE(file->Publish(*digest, false).ok());
  EXPECT_EQ(Read(), "0123456789");
  EXPECT_EQ(FilesInDir(), 1u);
}

TEST_F(OutputFileTest, CutsPiecesToTheRangeThatWasAskedFor) {
  auto file = OutputFile::Create(path_);
  ASSERT_TRUE(file->SetWindow({.offset = 3, .length = 4}).ok());
  ASSERT_TRUE(file->Write(0, "01234").ok());
  ASSERT_TRUE(file->Write(5, "56789").ok());
  ASSERT_TRUE(file->Publish(std::nullopt, false).ok());
  EXPECT_EQ(Read(), "3456");
}

TEST_F(OutputFileTest, LeavesNothingBehindWhenItFails) {
  {
    auto file = OutputFile::Create(path_);
    ASSERT_TRUE(file->SetWindow({.offset = 0, .length = 4}).ok());
    ASSERT_TRUE(file->Write(0, "abc").ok());
    EXPECT_EQ(file->Publish(std::nullopt, false).code(), absl::StatusCode::kDataLoss);
    ASSERT_TRUE(file->Write(3, "x").ok());
    EXPECT_EQ(file->Publish(Digest::OfCrc32(1), false).code(), absl::StatusCode::kDataLoss);
  }
  EXPECT_EQ(FilesInDir(), 0u);
}

TEST_F(OutputFileTest, DoesNotReplaceAFileUnlessAsked) {
  std::ofstream(path_) << "old";
  auto file = OutputFile::Create(path_);
  ASSERT_TRUE(file->SetWindow({.offset = 0, .length = 3}).ok());
  ASSERT_TRUE(file->Write(0, "new").ok());
  EXPECT_EQ(file->Publish(std::nullopt, false).code(), absl::StatusCode::kAlreadyExists);
  EXPECT_EQ(Read(), "old");
  ASSERT_TRUE(file->Publish(std::nullopt, true).ok());
  EXPECT_EQ(Read(), "new");
}

}  // namespace
}  // namespace dragonfly::cli
