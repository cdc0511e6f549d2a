// SPDX-License-Identifier: Apache-2.0
#include "cli/directory_listing.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "dfdaemon/v2/dfdaemon.pb.h"

namespace dragonfly::cli {
namespace {

using testing::ElementsAre;
using testing::HasSubstr;

constexpr char kDirectory[] = "s3://bucket/d%20e/";

TEST(RelativePath, IsDecodedBelowTheDirectory) {
  EXPECT_EQ(*RelativePath(kDirectory, "s3://bucket/d%20e/a%20b/c%25"), "a b/c%");
  EXPECT_EQ(*RelativePath(kDirectory, "s3://bucket/d%20e/sub/"), "sub");
  EXPECT_EQ(*RelativePath(kDirectory, "s3://bucket/d%20e/a?versionId=1"), "a");
  EXPECT_EQ(*RelativePath(kDirectory, "s3://bucket/d e/a b"), "a b") << "another spelling of the same";
  EXPECT_EQ(*RelativePath("s3://bucket/", "s3://bucket/..."), "...");
}

TEST(RelativePath, RefusesWhatLiesElsewhere) {
  for (const char* const url :
       {"s3://bucket/other/a", "s3://other/d%20e/a", "gs://bucket/d%20e/a", "/etc/passwd", "", "s3://bucket/d%20e"}) {
    EXPECT_TRUE(absl::IsFailedPrecondition(RelativePath(kDirectory, url).status())) << url;
  }
}

TEST(RelativePath, RefusesNamesThatLeaveTheDirectory) {
  for (const char* const rest : {"..", "../a", "%2e%2e/a", "a/%2E%2E/%2e./b", "a/../../b", "./a", "%2e", "a//b", "",
                                 "//", "a%2fb", "..%2fa", "a%00b", "%2fetc/passwd"}) {
    const std::string url = std::string(kDirectory) + rest;
    const auto path = RelativePath(kDirectory, url);
    EXPECT_TRUE(absl::IsFailedPrecondition(path.status())) << url << " gave " << path.value_or("");
  }
}

dfdaemon::v2::ListTaskEntriesResponse List(const std::vector<std::string>& paths) {
  dfdaemon::v2::ListTaskEntriesResponse response;
  for (const std::string& path : paths) {
    dfdaemon::v2::Entry& entry = *response.add_entries();
    entry.set_url(kDirectory + path);
    entry.set_is_dir(path.empty() || path.back() == '/');
    entry.set_content_length(entry.is_dir() ? 0 : 7);
  }
  return response;
}

std::vector<std::string> Paths(const SelectedFiles& selected) {
  std::vector<std::string> paths;
  for (const ListedFile& file : selected.files) paths.push_back(file.path);
  return paths;
}

TEST(SelectFiles, TakesWhatThePatternsWant) {
  const auto list = List({"", "b.bin", "a.txt", "empty/", "sub/c.bin"});
  const auto all = SelectFiles(kDirectory, list, *IncludeGlobs::Parse({}), 10);
  ASSERT_TRUE(all.ok()) << all.status();
  EXPECT_THAT(Paths(*all), ElementsAre("a.txt", "b.bin", "sub/c.bin"));
  EXPECT_THAT(all->directories, ElementsAre("empty"));
  EXPECT_EQ(all->files[0].url, "s3://bucket/d%20e/a.txt");
  EXPECT_EQ(all->files[0].content_length, 7u);
  const auto some = SelectFiles(kDirectory, list, *IncludeGlobs::Parse({"**/*.bin"}), 10);
  ASSERT_TRUE(some.ok());
  EXPECT_THAT(Paths(*some), ElementsAre("b.bin", "sub/c.bin"));
  EXPECT_THAT(some->directories, testing::IsEmpty());
}

TEST(SelectFiles, CountsWhatIsWantedAgainstTheLimit) {
  const auto list = List({"a", "b", "c", "d/"});
  EXPECT_TRUE(SelectFiles(kDirectory, list, *IncludeGlobs::Parse({}), 3).ok());
  EXPECT_EQ(SelectFiles(kDirectory, list, *IncludeGlobs::Parse({}), 2).status().message(),
            "max number of files to download exceeded: 3");
  EXPECT_TRUE(SelectFiles(kDirectory, list, *IncludeGlobs::Parse({"a"}), 1).ok());
}

TEST(SelectFiles, RefusesAListThatIsNotSafe) {
  EXPECT_THAT(SelectFiles(kDirectory, List({"a", "%2e%2e/x"}), *IncludeGlobs::Parse({}), 10).status().message(),
              HasSubstr("not safe"));
  EXPECT_THAT(SelectFiles(kDirectory, List({"%2e%2e/"}), *IncludeGlobs::Parse({}), 10).status().message(),
              HasSubstr("not safe"));
  EXPECT_THAT(SelectFiles(kDirectory, List({"a", "%61"}), *IncludeGlobs::Parse({}), 10).status().message(),
              HasSubstr("twice: \"a\""));
}

TEST(FilesOfPaths, EncodesThePathsIntoUrls) {
  const auto files = FilesOfPaths(kDirectory, {"a b/100%", "c"}, 2);
  ASSERT_TRUE(files.ok());
  EXPECT_EQ(files->files[0].url, "s3://bucket/d%20e/a%20b/100%25");
  EXPECT_EQ(files->files[0].path, "a b/100%");
  EXPECT_FALSE(files->files[0].content_length.has_value());
  EXPECT_EQ(FilesOfPaths(kDirectory, {"a", "b"}, 1).status().message(), "max number of files to download exceeded: 2");
}

}  // namespace
}  // namespace dragonfly::cli
