// SPDX-License-Identifier: Apache-2.0
// Directories and several files at once: what a user of dfget sees, by real programs.
#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <filesystem>
#include <fstream>
#include <iterator>
#include <map>
#include <memory>
#include <set>
#include <string>
#include <vector>

#include "tests/e2e/harness/cluster.h"
#include "tests/e2e/harness/origin.h"
#include "tests/support/object_storage.h"
#include "tests/support/python_server.h"

namespace dragonfly::e2e {
namespace {

namespace fs = std::filesystem;
using ::testing::ElementsAre;
using ::testing::HasSubstr;
using ::testing::IsEmpty;
using ::testing::Not;
using ::testing::Pair;

constexpr std::chrono::seconds kTimeout{60};
constexpr char kSecret[] = "the-secret-of-the-key";

std::string Read(const fs::path& path) {
  std::ifstream file(path, std::ios::binary);
  return {std::istreambuf_iterator<char>(file), {}};
}

// Path below `root` -> content.
std::map<std::string, std::string> Tree(const std::string& root) {
  std::map<std::string, std::string> files;
  for (const auto& entry : fs::recursive_directory_iterator(root)) {
    if (entry.is_regular_file()) files[fs::relative(entry.path(), root).string()] = Read(entry.path());
  }
  return files;
}

class Directories : public ::testing::Test {
 protected:
  static void SetUpTestSuite() {
    dir_ = new TempDir();
    cluster_ = new Cluster(1);
    storage_ = new dragonfly::testing::ObjectStorage(
        std::string(R"({"vendor": "s3", "bucket": "bucket", "region": "eu-north-1", "page_size": 2,)") +
        R"("access_key_id": "id", "access_key_secret": ")" + kSecret +
        R"(", "objects": {"models/a.txt": "alpha", "models/empty": "", )" +
        R"("models/sub/b c%.bin": "beta", "models/sub/deep/d.txt": "delta", "other/x": "x"}})");
  }
  static void TearDownTestSuite() {
    delete storage_;
    delete cluster_;
    delete dir_;
  }

  // dfget with `arguments`; output and errors are what Log() of the process tells.
  static Process Run(std::vector<std::string> arguments, const std::map<std::string, std::string>& environment = {}) {
    std::vector<std::string> argv = {Program("dfget"), "--endpoint", cluster_->peer(0).socket(), "--timeout", "120s"};
    argv.insert(argv.end(), arguments.begin(), arguments.end());
    return Process(std::move(argv), dir_->path() + "/dfget-" + std::to_string(next_++) + ".out", environment);
  }
  // From the bucket. The secret comes from the environment.
  static Process FromBucket(const std::string& output, std::vector<std::string> options = {}) {
    std::vector<std::string> arguments = {
        "s3://bucket/models/", "-O", output, "--storage-endpoint", storage_->Endpoint(), "--storage-region=eu-north-1"};
    arguments.insert(arguments.end(), options.begin(), options.end());
    return Run(std::move(arguments),
               {{"DFGET_STORAGE_ACCESS_KEY_ID", "id"}, {"DFGET_STORAGE_ACCESS_KEY_SECRET", kSecret}});
  }
  static std::string FreshDirectory() {
    const std::string path = dir_->path() + "/out-" + std::to_string(next_++);
    fs::create_directories(path);
    return path;
  }

  static TempDir* dir_;
  static Cluster* cluster_;
  static dragonfly::testing::ObjectStorage* storage_;
  static int next_;
};
TempDir* Directories::dir_ = nullptr;
Cluster* Directories::cluster_ = nullptr;
dragonfly::testing::ObjectStorage* Directories::storage_ = nullptr;
int Directories::next_ = 0;

TEST_F(Directories, AreDownloadedWithEverythingBelow) {
  for (const std::vector<std::string>& mode : std::vector<std::vector<std::string>>{{}, {"--transfer-from-dfdaemon"}}) {
    const std::string output = FreshDirectory();
    Process run = FromBucket(output, mode);
    ASSERT_EQ(run.Wait(kTimeout), 0) << run.Log();
    EXPECT_EQ(run.Log(), "") << "nothing is told without a terminal";
    EXPECT_THAT(Tree(output), ElementsAre(Pair("a.txt", "alpha"), Pair("empty", ""), Pair("sub/b c%.bin", "beta"),
                                          Pair("sub/deep/d.txt", "delta")));
  }
}

TEST_F(Directories, GoOnWithWhatIsMissing) {
  const std::string output = FreshDirectory();
  std::ofstream(output + "/a.txt") << "ALPHA";
  Process first = FromBucket(output, {"--json"});
  ASSERT_EQ(first.Wait(kTimeout), 0) << first.Log();
  EXPECT_EQ(Read(output + "/a.txt"), "ALPHA") << "a file of the right length is kept";
  EXPECT_THAT(first.Log(), HasSubstr(R"({"event":"kept","url":"s3://bucket/models/a.txt","output":")" + output));
  EXPECT_THAT(first.Log(), HasSubstr(R"({"event":"summary","files":4,"finished":3,"kept":1,"failed":0,"bytes":9,)"));
  EXPECT_THAT(first.Log(), Not(HasSubstr(kSecret)));
  Process second = FromBucket(output, {"--json", "--overwrite"});
  ASSERT_EQ(second.Wait(kTimeout), 0) << second.Log();
  EXPECT_EQ(Read(output + "/a.txt"), "alpha");
}

TEST_F(Directories, TakeOnlyWhatIsIncluded) {
  const std::string some = FreshDirectory();
  Process run = FromBucket(some, {"-I", "**/*.txt"});
  ASSERT_EQ(run.Wait(kTimeout), 0) << run.Log();
  EXPECT_THAT(Tree(some), ElementsAre(Pair("a.txt", "alpha"), Pair("sub/deep/d.txt", "delta")));
  const std::string plain = FreshDirectory();
  Process paths = FromBucket(plain, {"-I", "sub/b c%.bin"});
  ASSERT_EQ(paths.Wait(kTimeout), 0) << paths.Log();
  EXPECT_THAT(Tree(plain), ElementsAre(Pair("sub/b c%.bin", "beta")));
}

TEST_F(Directories, AreRefusedWithTooManyFiles) {
  const std::string output = FreshDirectory();
  Process run = FromBucket(output, {"--max-files", "3"});
  EXPECT_EQ(run.Wait(kTimeout), 1);
  EXPECT_THAT(run.Log(), HasSubstr("Downloading Failed!"));
  EXPECT_THAT(run.Log(), HasSubstr("Message: max number of files to download exceeded: 4"));
  EXPECT_TRUE(fs::is_empty(output));
}

TEST_F(Directories, TellAllFailuresAtTheEnd) {
  const std::string output = FreshDirectory();
  std::ofstream(output + "/a.txt") << "of another length";
  fs::create_directories(output + "/empty");
  Process run = FromBucket(output, {"--max-concurrent-requests", "1"});
  EXPECT_EQ(run.Wait(kTimeout), 1);
  EXPECT_THAT(run.Log(), HasSubstr("File: " + output + "/a.txt\nDownloading Failed!"));
  EXPECT_THAT(run.Log(), HasSubstr("output path " + output + "/a.txt is already exist"));
  EXPECT_THAT(run.Log(), HasSubstr("output path " + output + "/empty is no file"));
  EXPECT_THAT(run.Log(), HasSubstr("2 of 4 files failed\n"));
  EXPECT_EQ(Read(output + "/sub/deep/d.txt"), "delta") << "a failure does not stop the others";
}

TEST_F(Directories, StayBelowTheirOutput) {
  const std::string output = FreshDirectory();
  const std::string outside = FreshDirectory();
  fs::create_directory_symlink(outside, output + "/sub");
  for (const std::string& mode : {"--overwrite", "--transfer-from-dfdaemon"}) {
    Process run = FromBucket(output, {mode});
    EXPECT_EQ(run.Wait(kTimeout), 1);
    EXPECT_THAT(run.Log(), HasSubstr("output path " + output + "/sub is not a directory, or a symbolic link"));
    EXPECT_TRUE(fs::is_empty(outside));
  }
}

TEST_F(Directories, OfModelHubsAreDownloadedToo) {
  const std::string root = FreshDirectory();
  fs::create_directories(root + "/models/owner/name/onnx");
  std::ofstream(root + "/models/owner/name/config.json") << "{}";
  std::ofstream(root + "/models/owner/name/onnx/model.bin") << std::string(5000, 'm');
  const dragonfly::testing::PythonServer hub("hub_server.py", {root, "--token", kSecret, "--revision", "v1"});
  const std::string output = FreshDirectory();
  const std::vector<std::string> arguments = {"hf://owner/name",
                                              "-r",
                                              "-O",
                                              output,
                                              "--hf-revision=v1",
                                              "--hf-base-url=http://127.0.0.1:" + std::to_string(hub.port())};
  Process run = Run(arguments, {{"DFGET_HF_TOKEN", kSecret}});
  ASSERT_EQ(run.Wait(kTimeout), 0) << run.Log();
  EXPECT_THAT(Tree(output), ElementsAre(Pair("config.json", "{}"), Pair("onnx/model.bin", std::string(5000, 'm'))));
  Process refused = Run(arguments);
  EXPECT_EQ(refused.Wait(kTimeout), 1);
  EXPECT_THAT(refused.Log(), HasSubstr("Bad Status Code: 401"));
}

class SeveralFiles : public Directories {
 protected:
  SeveralFiles() : origin_(FreshDirectory()) {
    WriteRandomFile(origin_.root() + "/a", (5 << 20) + 1, 1);
    WriteRandomFile(origin_.root() + "/b c", 1000, 2);
  }
  Origin origin_;
};

TEST_F(SeveralFiles, GoIntoOneDirectory) {
  const std::string output = FreshDirectory();
  Process run = Run({origin_.Url("a"), origin_.Url("b%20c"), origin_.Url("missing"), "-O", output + "/"});
  EXPECT_EQ(run.Wait(kTimeout), 1);
  EXPECT_THAT(run.Log(), HasSubstr("File: " + output + "/missing\nDownloading Failed!"));
  EXPECT_THAT(run.Log(), HasSubstr("Bad Status Code: 404"));
  EXPECT_THAT(run.Log(), HasSubstr("1 of 3 files failed\n"));
  EXPECT_TRUE(SameContent(origin_.root() + "/a", output + "/a"));
  EXPECT_TRUE(SameContent(origin_.root() + "/b c", output + "/b c"));
  EXPECT_EQ(std::distance(fs::directory_iterator(output), fs::directory_iterator()), 2);
}

TEST_F(SeveralFiles, OrOneGoToStandardOutput) {
  Process run = Run({origin_.Url("a"), "-O", "-"});
  ASSERT_EQ(run.Wait(kTimeout), 0);
  EXPECT_TRUE(run.Log() == Read(origin_.root() + "/a")) << run.Log().size() << " bytes came";
}

TEST_F(SeveralFiles, TellWhatHappensAsJson) {
  const std::string output = FreshDirectory();
  Process good = Run({origin_.Url("a") + "?signature=" + kSecret, "-O", output + "/a", "--json"});
  ASSERT_EQ(good.Wait(kTimeout), 0) << good.Log();
  const std::string about = R"("url":")" + origin_.Url("a") + R"(","output":")" + output + R"(/a",)";
  EXPECT_THAT(good.Log(), HasSubstr(R"({"event":"started",)" + about));
  EXPECT_THAT(good.Log(), HasSubstr(R"({"event":"finished",)" + about));
  EXPECT_THAT(good.Log(), HasSubstr(R"("bytes":5242881,"seconds":)"));
  Process bad = Run({origin_.Url("missing"), "-O", output + "/missing", "--json"});
  EXPECT_EQ(bad.Wait(kTimeout), 1);
  EXPECT_THAT(bad.Log(), HasSubstr(R"("status_code":404)"));
  EXPECT_THAT(bad.Log(), Not(HasSubstr("Failed!")));
}

TEST_F(SeveralFiles, FromTheirOriginAreRefusedWhereThatIsNotAllowed) {
  const std::string output = FreshDirectory() + "/a";
  Process run = Run({origin_.Url("a") + "?nobody-has-this", "-O", output, "--disable-back-to-source", "-p", "2"});
  EXPECT_EQ(run.Wait(kTimeout), 1);
  EXPECT_THAT(run.Log(), HasSubstr("Downloading Failed!"));
  EXPECT_FALSE(fs::exists(output));
}

}  // namespace
}  // namespace dragonfly::e2e
