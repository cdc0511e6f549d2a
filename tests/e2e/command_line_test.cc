// SPDX-License-Identifier: Apache-2.0
// What a user of the programs sees.
#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <sys/stat.h>

#include <filesystem>
#include <fstream>
#include <memory>

#include "base/digest.h"
#include "tests/e2e/harness/cluster.h"
#include "tests/e2e/harness/origin.h"

namespace dragonfly::e2e {
namespace {

using testing::HasSubstr;

constexpr std::chrono::seconds kTimeout{60};
constexpr uint64_t kMiB = 1 << 20;

// One cluster for all tests of the file.
class CommandLine : public testing::Test {
 protected:
  static void SetUpTestSuite() {
    dir_ = new TempDir();
    std::filesystem::create_directories(dir_->path() + "/origin");
    origin_ = new Origin(dir_->path() + "/origin");
    cluster_ = new Cluster(1);
    WriteRandomFile(origin_->root() + "/file", 6 * kMiB + 1);
  }
  static void TearDownTestSuite() {
    delete cluster_;
    delete origin_;
    delete dir_;
  }

  Process Dfget(const std::string& output, std::vector<std::string> options = {}, const std::string& file = "file") {
    return cluster_->peer(0).Dfget(origin_->Url(file), output, std::move(options));
  }
  std::string FreshOutput() { return cluster_->Output("out-" + std::to_string(next_++)); }

  static TempDir* dir_;
  static Origin* origin_;
  static Cluster* cluster_;
  static int next_;
};
TempDir* CommandLine::dir_ = nullptr;
Origin* CommandLine::origin_ = nullptr;
Cluster* CommandLine::cluster_ = nullptr;
int CommandLine::next_ = 0;

TEST_F(CommandLine, DfgetMakesTheOutputAHardLinkWhereItCan) {
  const std::string output = FreshOutput();
  Process run = Dfget(output);
  ASSERT_EQ(run.Wait(kTimeout), 0) << run.Log();
  struct stat status{};
  ASSERT_EQ(::stat(output.c_str(), &status), 0);
  EXPECT_GE(status.st_nlink, 2u);
  EXPECT_TRUE(SameContent(origin_->root() + "/file", output));
}

TEST_F(CommandLine, DfgetWritesTheFileItselfWhenAsked) {
  const std::string output = FreshOutput();
  Process run = Dfget(output, {"--transfer-from-dfdaemon"});
  ASSERT_EQ(run.Wait(kTimeout), 0) << run.Log();
  struct stat status{};
  ASSERT_EQ(::stat(output.c_str(), &status), 0);
  EXPECT_EQ(status.st_nlink, 1u);
  EXPECT_TRUE(SameContent(origin_->root() + "/file", output));
}

TEST_F(CommandLine, DfgetChecksTheDigest) {
  const auto right = DigestOfFile(origin_->root() + "/file", DigestAlgorithm::kSha256);
  ASSERT_TRUE(right.ok());
  Process good = Dfget(FreshOutput(), {"--digest", right->ToString()});
  EXPECT_EQ(good.Wait(kTimeout), 0) << good.Log();
  for (const std::vector<std::string>& mode : {std::vector<std::string>{}, {"--transfer-from-dfdaemon"}}) {
    std::vector<std::string> options = {"--digest", "sha256:" + std::string(64, '0')};
    options.insert(options.end(), mode.begin(), mode.end());
    const std::string output = FreshOutput();
    Process bad = Dfget(output, options);
    EXPECT_EQ(bad.Wait(kTimeout), 1);
    EXPECT_THAT(bad.Log(), HasSubstr("Downloading Failed!"));
    EXPECT_THAT(bad.Log(), HasSubstr("digest mismatch expected: sha256:0000"));
    EXPECT_FALSE(std::filesystem::exists(output));
  }
}

TEST_F(CommandLine, DfgetTellsWhatTheOriginAnswered) {
  Process run = Dfget(FreshOutput(), {}, "missing");
  EXPECT_EQ(run.Wait(kTimeout), 1);
  EXPECT_THAT(run.Log(), HasSubstr("Downloading Failed!"));
  EXPECT_THAT(run.Log(), HasSubstr("Bad Status Code: 404"));
  EXPECT_THAT(run.Log(), HasSubstr("[server]: nginx"));
}

TEST_F(CommandLine, DfgetTellsThatNoDaemonIsThere) {
  Process run({Program("dfget"), origin_->Url("file"), "-O", FreshOutput(), "-e", dir_->path() + "/none.sock"},
              dir_->path() + "/nobody.out");
  EXPECT_EQ(run.Wait(kTimeout), 1);
  EXPECT_THAT(run.Log(), HasSubstr("Connect Dfdaemon Failed!"));
  EXPECT_THAT(run.Log(), HasSubstr("please check the unix socket " + dir_->path() + "/none.sock"));
}

TEST_F(CommandLine, DfgetKeepsAnExistingOutputUnlessToldToReplaceIt) {
  const std::string output = FreshOutput();
  std::ofstream(output) << "mine";
  Process kept = Dfget(output);
  EXPECT_EQ(kept.Wait(kTimeout), 1);
  EXPECT_THAT(kept.Log(), HasSubstr("Validating Failed!"));
  Process replaced = Dfget(output, {"--overwrite"});
  EXPECT_EQ(replaced.Wait(kTimeout), 0) << replaced.Log();
  EXPECT_TRUE(SameContent(origin_->root() + "/file", output));
}

TEST_F(CommandLine, DragonflyStandaloneIsAWholeClusterInOneProcess) {
  const std::string data = dir_->path() + "/standalone";
  Process standalone({Program("dragonfly"), "standalone", "--data-dir", data, "--ip", "127.0.0.1", "--scheduler-port",
                      std::to_string(FreePort())},
                     dir_->path() + "/standalone.out");
  ASSERT_TRUE(Await([&] { return standalone.Log().find("Dragonfly runs.") != std::string::npos; }, kTimeout))
      << standalone.Log();
  const std::string output = FreshOutput();
  Process run({Program("dfget"), origin_->Url("file"), "-O", output, "-e", data + "/dfdaemon.sock"},
              dir_->path() + "/standalone-dfget.out");
  EXPECT_EQ(run.Wait(kTimeout), 0) << run.Log();
  EXPECT_TRUE(SameContent(origin_->root() + "/file", output));
  EXPECT_EQ(standalone.Terminate(), 0) << standalone.Log();
}

TEST_F(CommandLine, DfdaemonNamesAWrongValueAndWhereItStands) {
  std::ofstream(dir_->path() + "/bad.yaml") << "upload:\n  server:\n    port: 70000\n";
  Process run({Program("dfdaemon"), "--config", dir_->path() + "/bad.yaml"}, dir_->path() + "/bad.out");
  EXPECT_EQ(run.Wait(kTimeout), 1);
  EXPECT_THAT(run.Log(), HasSubstr("bad.yaml:3"));
  EXPECT_THAT(run.Log(), HasSubstr("upload.server.port"));
}

TEST_F(CommandLine, DfdaemonLeavesCleanlyOnSigterm) {
  Peer extra(dir_->path() + "/extra", cluster_->scheduler().port(), {.name = "extra"});
  EXPECT_EQ(extra.process().Terminate(), 0) << extra.process().Log();
  EXPECT_FALSE(std::filesystem::exists(extra.socket()));
}

}  // namespace
}  // namespace dragonfly::e2e
