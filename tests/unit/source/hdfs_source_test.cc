// SPDX-License-Identifier: Apache-2.0
#include <gmock/gmock.h>

#include <filesystem>

#include "base/text.h"
#include "tests/support/python_server.h"
#include "tests/support/temp_dir.h"
#include "tests/unit/source/source_fixture.h"

namespace dragonfly::source {
namespace {

using ::testing::Contains;
using ::testing::ElementsAre;
using ::testing::HasSubstr;
using ::testing::IsEmpty;
using ::testing::Not;
using ::testing::Pair;

class HdfsSource : public SourceFixture {
 protected:
  void Start(std::vector<std::string> arguments = {}) {
    arguments.insert(arguments.begin(), files_.path().string());
    server_ = std::make_unique<testing::PythonServer>("webhdfs_server.py", arguments);
  }
  std::string Url(const std::string& path, const std::string& user = "") const {
    return StrCat("hdfs://", user, "127.0.0.1:", server_->port(), path);
  }

  testing::TempDir files_;
  std::unique_ptr<testing::PythonServer> server_;
};

TEST_F(HdfsSource, StatsAndReadsAFileOverTheDatanode) {
  const std::string content = Pattern(3'000'000);
  files_.Write("data/model file+1.bin", content);
  Start();
  const std::string url = Url("/data/model%20file+1.bin");
  const absl::StatusOr<OriginStat> stat = Stat(url);
  ASSERT_TRUE(stat.ok()) << stat.status();
  EXPECT_EQ(stat->content_length, content.size());
  EXPECT_TRUE(stat->accepts_ranges);
  EXPECT_THAT(stat->header, Contains(Pair("content-length", "3000000")));
  EXPECT_FALSE(VersionOf(*stat).etag.empty());
  for (const ByteRange range : {ByteRange{0, 3'000'000}, ByteRange{0, 1}, ByteRange{1'234'567, 1'000'000}}) {
    const absl::Status read = Read(url, range, VersionOf(*stat));
    ASSERT_TRUE(read.ok()) << read;
    EXPECT_TRUE(sink_.text == content.substr(range.offset, range.length));
  }
  const absl::StatusOr<uint64_t> all = ReadAll(url, VersionOf(*stat));
  ASSERT_TRUE(all.ok()) << all.status();
  EXPECT_EQ(*all, content.size());
  EXPECT_TRUE(sink_.text == content);
}

TEST_F(HdfsSource, ReadsAnEmptyFile) {
  files_.Write("empty", "");
  Start();
  const absl::StatusOr<OriginStat> stat = Stat(Url("/empty"));
  ASSERT_TRUE(stat.ok()) << stat.status();
  EXPECT_EQ(stat->content_length, 0u);
  const absl::StatusOr<uint64_t> all = ReadAll(Url("/empty"), VersionOf(*stat));
  ASSERT_TRUE(all.ok()) << all.status();
  EXPECT_EQ(*all, 0u);
}

TEST_F(HdfsSource, ProvesItselfByTheDelegationToken) {
  files_.Write("file", "content");
  Start({"--token", "a token/with+signs="});
  const absl::Status refused = Stat(Url("/file")).status();
  EXPECT_EQ(CodeOf(refused), 403);
  EXPECT_THAT(refused.ToString(), HasSubstr("InvalidToken"));
  access_.hdfs_delegation_token = "wrong-and-secret";
  const absl::Status wrong = ReadAll(Url("/file")).status();
  EXPECT_EQ(CodeOf(wrong), 403);
  EXPECT_THAT(wrong.ToString(), Not(HasSubstr("wrong-and-secret")));
  access_.hdfs_delegation_token = "a token/with+signs=";
  ASSERT_TRUE(Read(Url("/file"), {2, 3}).ok());
  EXPECT_EQ(sink_.text, "nte");
}

TEST_F(HdfsSource, NamesTheUserOfTheUrl) {
  files_.Write("file", "content");
  Start({"--user", "alice"});
  EXPECT_EQ(CodeOf(Stat(Url("/file")).status()), 401);
  const absl::StatusOr<uint64_t> all = ReadAll(Url("/file", "alice@"));
  EXPECT_TRUE(all.ok()) << all.status();
}

TEST_F(HdfsSource, TellsWhatHadoopSays) {
  files_.Write("dir/file", "x");
  Start();
  const absl::Status missing = Stat(Url("/missing")).status();
  EXPECT_EQ(CodeOf(missing), 404);
  EXPECT_THAT(missing.ToString(), HasSubstr("FileNotFoundException: File does not exist: /missing"));
  EXPECT_EQ(CodeOf(Read(Url("/missing"), {0, 1})), 404);
  const absl::Status directory = Stat(Url("/dir")).status();
  EXPECT_TRUE(absl::IsInvalidArgument(directory));
  EXPECT_THAT(directory.ToString(), HasSubstr("directory"));
}

TEST_F(HdfsSource, GoesOnWhereADatanodeBrokeOff) {
  const std::string content = Pattern(500'000);
  files_.Write("file", content);
  options_.retries = 3;
  Start({"--breaks", "2"});
  const absl::Status read = Read(Url("/file"), {100, 400'000});
  ASSERT_TRUE(read.ok()) << read;
  EXPECT_TRUE(sink_.text == content.substr(100, 400'000));
}

TEST_F(HdfsSource, GivesUpADatanodeThatBreaksOffForGood) {
  files_.Write("file", Pattern(500'000));
  options_.retries = 1;
  Start({"--breaks", "1000"});
  const absl::Status read = Read(Url("/file"), {0, 400'000});
  EXPECT_TRUE(absl::IsDataLoss(read)) << read;
  EXPECT_THAT(read.ToString(), HasSubstr("of 400000 bytes"));
  EXPECT_TRUE(absl::IsDataLoss(ReadAll(Url("/file")).status()));
}

TEST_F(HdfsSource, SeesThatAFileHasChanged) {
  const std::string path = files_.Write("file", "0123456789");
  Start();
  const absl::StatusOr<OriginStat> stat = Stat(Url("/file"));
  ASSERT_TRUE(stat.ok()) << stat.status();
  files_.Write("file", "9876543210");
  std::filesystem::last_write_time(path, std::filesystem::file_time_type::clock::now() + std::chrono::hours(1));
  const absl::Status same_length = Read(Url("/file"), {0, 5}, VersionOf(*stat));
  EXPECT_TRUE(absl::IsDataLoss(same_length)) << same_length;
  files_.Write("file", "0123");
  const absl::Status shorter = Read(Url("/file"), {0, 10}, VersionOf(*stat));
  EXPECT_TRUE(absl::IsDataLoss(shorter)) << shorter;
  EXPECT_THAT(shorter.ToString(), HasSubstr("object has changed"));
}

TEST_F(HdfsSource, ListsADirectoryAtEveryDepthPageByPage) {
  for (const char* name : {"top/a", "top/b b", "top/c", "top/deep/er/file", "top/deep/x", "top/%2e%2e", "other"}) {
    files_.Write(name, "12345");
  }
  std::filesystem::create_directories(files_.path() / "top/none");
  for (const bool old : {false, true}) {
    Start(old ? std::vector<std::string>{"--old"} : std::vector<std::string>{});
    const absl::StatusOr<std::vector<OriginEntry>> entries = List(Url("/top/"));
    ASSERT_TRUE(entries.ok()) << entries.status();
    const std::string top = Url("/top/");
    EXPECT_THAT(Described(*entries),
                ElementsAre(top + "%252e%252e 5", top + "a 5", top + "b%20b 5", top + "c 5", top + "deep/",
                            top + "deep/er/", top + "deep/er/file 5", top + "deep/x 5", top + "none/"));
    for (const OriginEntry& entry : *entries) {
      if (!entry.is_directory) EXPECT_TRUE(ReadAll(entry.url).ok()) << entry.url;
    }
    EXPECT_TRUE(absl::IsResourceExhausted(List(top, 8).status()));
    EXPECT_TRUE(List(top, 9).ok());
    sources_.reset();
  }
}

TEST_F(HdfsSource, DoesNotListAFileOrNothing) {
  files_.Write("file", "x");
  Start();
  EXPECT_TRUE(absl::IsInvalidArgument(List(Url("/file/")).status())) << List(Url("/file/")).status();
  EXPECT_EQ(CodeOf(List(Url("/missing/")).status()), 404);
}

TEST_F(HdfsSource, RefusesUrlsWithoutANamenode) {
  EXPECT_TRUE(absl::IsInvalidArgument(Stat("hdfs:///path").status()));
  EXPECT_TRUE(absl::IsInvalidArgument(Stat("hdfs://u:password@host/path").status()));
}

}  // namespace
}  // namespace dragonfly::source
