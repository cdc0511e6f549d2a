// SPDX-License-Identifier: Apache-2.0
// What a user of the programs sees.
#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <sys/stat.h>

#include <filesystem>
#include <fstream>
#include <map>
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

TEST_F(CommandLine, DfctlListsShowsAndRemovesTasks) {
  const std::string dir = dir_->path() + "/dfctl";
  std::filesystem::create_directories(dir);
  WriteRandomFile(origin_->root() + "/listed", 5 * kMiB, 7);
  Process get = Dfget(FreshOutput(), {}, "listed");
  ASSERT_EQ(get.Wait(kTimeout), 0) << get.Log();
  int run = 0;
  const auto dfctl = [&](std::vector<std::string> arguments) {
    arguments.insert(arguments.begin(), Program("dfctl"));
    arguments.insert(arguments.end(), {"-e", cluster_->peer(0).socket()});
    return Process(arguments, dir + "/" + std::to_string(run++));
  };
  Process list = dfctl({"task", "ls"});
  ASSERT_EQ(list.Wait(kTimeout), 0) << list.Log();
  EXPECT_THAT(list.Log(), testing::StartsWith(" ID "));
  // The only task with this length.
  const std::string table = list.Log();
  const size_t row = table.rfind('\n', table.find("   5.0 MiB   "));
  ASSERT_NE(row, std::string::npos) << table;
  const std::string id = table.substr(row + 2, 64);
  Process stat = dfctl({"task", "stat", id});
  EXPECT_EQ(stat.Wait(kTimeout), 0) << stat.Log();
  EXPECT_THAT(stat.Log(), HasSubstr(id));
  Process remove = dfctl({"task", "rm", id});
  EXPECT_EQ(remove.Wait(kTimeout), 0) << remove.Log();
  EXPECT_EQ(remove.Log(), "Task Removed!\n");
  Process gone = dfctl({"task", "stat", id});
  EXPECT_EQ(gone.Wait(kTimeout), 1);
  EXPECT_THAT(gone.Log(), HasSubstr("local task not found: " + id));
  Process unserved = dfctl({"persistent-task", "ls"});
  EXPECT_EQ(unserved.Wait(kTimeout), 1);
  EXPECT_THAT(unserved.Log(), HasSubstr("ListLocalPersistentTasks is not served by this dfdaemon"));
}

TEST_F(CommandLine, DfctlTellsWhereThePiecesCameFrom) {
  const std::string dir = dir_->path() + "/why";
  std::filesystem::create_directories(dir);
  WriteRandomFile(origin_->root() + "/explained", 9 * kMiB, 11);
  Process get = Dfget(FreshOutput(), {}, "explained");
  ASSERT_EQ(get.Wait(kTimeout), 0) << get.Log();
  const auto why = [&](std::vector<std::string> arguments, const std::string& name) {
    arguments.insert(arguments.begin(), {Program("dfctl"), "why"});
    arguments.insert(arguments.end(), {"-e", cluster_->peer(0).socket()});
    return Process(arguments, dir + "/" + name);
  };
  Process text = why({origin_->Url("explained"), "--pieces"}, "text");
  ASSERT_EQ(text.Wait(kTimeout), 0) << text.Log();
  EXPECT_THAT(text.Log(), HasSubstr("url: " + origin_->Url("explained")));
  EXPECT_THAT(text.Log(), HasSubstr(": 9.0 MiB in 3 pieces; 9.0 MiB from peers, 0 B from the origin\n"));
  EXPECT_THAT(text.Log(),
              HasSubstr("scheduler: 127.0.0.1:" + std::to_string(cluster_->scheduler().port()) + ", waited "));
  EXPECT_THAT(text.Log(), HasSubstr("the scheduler offers 1 parents"));
  EXPECT_THAT(text.Log(), HasSubstr("-seed "));
  // At the seed the same pieces came from the origin.
  Process seed({Program("dfctl"), "why", text.Log().substr(5, 64), "--json", "-e", cluster_->seed().socket()},
               dir + "/seed");
  ASSERT_EQ(seed.Wait(kTimeout), 0) << seed.Log();
  EXPECT_THAT(seed.Log(), HasSubstr("\"task_id\": \"" + text.Log().substr(5, 64) + "\""));
  EXPECT_THAT(seed.Log(), HasSubstr("\"bytes\": \"9437184\""));
  Process unknown = why({origin_->Url("never-asked-for")}, "unknown");
  EXPECT_EQ(unknown.Wait(kTimeout), 1);
  EXPECT_THAT(unknown.Log(), HasSubstr("Explaining Task Failed!"));
  EXPECT_THAT(unknown.Log(), HasSubstr("is remembered"));
}

TEST_F(CommandLine, DragonflyStandaloneIsAWholeClusterInOneProcess) {
  const std::string data = dir_->path() + "/standalone";
  Process standalone({Program("dragonfly"), "standalone", "--data-dir", data, "--ip", "127.0.0.1", "--proxy-port", "0",
                      "--scheduler-port", std::to_string(FreePort()), "--manager-port", "0", "--rest-port", "0"},
                     dir_->path() + "/standalone.out");
  ASSERT_TRUE(Await([&] { return standalone.Log().find("Dragonfly runs.") != std::string::npos; }, kTimeout))
      << standalone.Log();
  // With a manager that knows who has just been made its first user.
  EXPECT_TRUE(
      Await([&] { return standalone.Log().find("as user root with password ") != std::string::npos; }, kTimeout));
  const std::string log = standalone.Log();
  const std::string api = "API http://localhost:";
  ASSERT_THAT(log, HasSubstr(api));
  const int rest_port = std::stoi(log.substr(log.find(api) + api.size()));
  EXPECT_TRUE(TcpAccepts(rest_port));
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

TEST_F(CommandLine, DfdaemonTellsVersionAndHelp) {
  Process version({Program("dfdaemon"), "--version"}, dir_->path() + "/version.out");
  EXPECT_EQ(version.Wait(kTimeout), 0);
  EXPECT_THAT(version.Log(), testing::MatchesRegex("dfdaemon [0-9.]+ \\(([0-9a-f]{9}|unknown), .*\\)\n"));
  const std::vector<std::vector<std::string>> helps = {{"--help"},
                                                       {"-h"},
                                                       {"config", "--help"},
                                                       {"config", "check", "--help"},
                                                       {"config", "print", "--help"},
                                                       {"config", "keys", "--help"}};
  for (size_t i = 0; i < helps.size(); ++i) {
    std::vector<std::string> argv = {Program("dfdaemon")};
    argv.insert(argv.end(), helps[i].begin(), helps[i].end());
    Process help(argv, dir_->path() + "/help-" + std::to_string(i) + ".out");
    EXPECT_EQ(help.Wait(kTimeout), 0);
    EXPECT_THAT(help.Log(), HasSubstr("Usage: dfdaemon"));
  }
  Process wrong({Program("dfdaemon"), "--bogus"}, dir_->path() + "/wrong.out");
  EXPECT_EQ(wrong.Wait(kTimeout), 2);
  EXPECT_THAT(wrong.Log(), HasSubstr("error: unexpected argument '--bogus' found"));
}

// A file by which a dfdaemon runs alone in `dir`.
std::string WriteLonelyConfig(const std::string& dir) {
  std::filesystem::create_directories(dir);
  std::ofstream(dir + "/dfdaemon.yaml") << "host: {ip: 127.0.0.1, hostname: alone}\n"
                                        << "download: {server: {socketPath: " << dir << "/d.sock, socketMode: 0666}}\n"
                                        << "storage: {dir: " << dir << "/storage, server: {tcpPort: 0, quicPort: 0}}\n"
                                        << "upload: {server: {port: 0}}\nproxy: {server: {port: 0}}\n"
                                        << "health: {server: {port: 0}}\nmetrics: {server: {port: 0}}\n"
                                        << "stats: {server: {port: 0}}\n";
  return dir + "/dfdaemon.yaml";
}

TEST_F(CommandLine, DfdaemonTakesItsOptionsFromTheEnvironmentToo) {
  const std::string dir = dir_->path() + "/environment";
  const std::string config = WriteLonelyConfig(dir);
  std::ofstream(dir + "/dynconfig.yaml") << "scheduler: {addr: '127.0.0.1:1'}\n";
  std::map<std::string, std::string> environment = {{"DFDAEMON_CONFIG", config},
                                                    {"DFDAEMON_DYNCONFIG", dir + "/dynconfig.yaml"},
                                                    {"DFDAEMON_LOG_DIR", dir + "/log"},
                                                    {"DFDAEMON_LOG_LEVEL", "debug"},
                                                    {"DFDAEMON_LOG_MAX_FILE_SIZE", "1GiB"},
                                                    {"DFDAEMON_CONSOLE", "true"}};
  Process run({Program("dfdaemon"), "--lock-path", dir + "/lock"}, dir + "/out", environment);
  ASSERT_TRUE(
      Await([&] { return run.Log().find("dfdaemon 127.0.0.1-alone serves on") != std::string::npos; }, kTimeout))
      << run.Log();
  struct stat status{};
  ASSERT_EQ(::stat((dir + "/d.sock").c_str(), &status), 0);
  EXPECT_EQ(status.st_mode & 0777u, 0666u);
  EXPECT_EQ(run.Terminate(), 0) << run.Log();
  EXPECT_TRUE(std::filesystem::exists(dir + "/log/dfdaemon.log"));

  // An option wins over its variable.
  environment["DFDAEMON_CONFIG"] = dir + "/none.yaml";
  Process print({Program("dfdaemon"), "config", "print", "--config", config}, dir + "/print.out", environment);
  EXPECT_EQ(print.Wait(kTimeout), 0) << print.Log();
  EXPECT_THAT(print.Log(), HasSubstr("hostname: alone"));
  Process missing({Program("dfdaemon")}, dir + "/missing.out", environment);
  EXPECT_EQ(missing.Wait(kTimeout), 1);
  EXPECT_THAT(missing.Log(), HasSubstr("Load config " + dir + "/none.yaml error: "));
  environment["DFDAEMON_CONSOLE"] = "perhaps";
  Process wrong({Program("dfdaemon")}, dir + "/wrong.out", environment);
  EXPECT_EQ(wrong.Wait(kTimeout), 2) << wrong.Log();
}

TEST_F(CommandLine, DfdaemonTakesTheSchedulersFromTheDynamicConfiguration) {
  const std::string dir = dir_->path() + "/dynconfig";
  const std::string config = WriteLonelyConfig(dir);
  std::ofstream(dir + "/dynconfig.yaml") << "scheduler: {addrs: ['10.9.8.7:8002']}\n";
  Process print({Program("dfdaemon"), "--dynconfig", dir + "/dynconfig.yaml", "config", "print", "-c", config},
                dir + "/print.out");
  EXPECT_EQ(print.Wait(kTimeout), 0) << print.Log();
  EXPECT_THAT(print.Log(), HasSubstr("addrs:\n    - \"10.9.8.7:8002\"\n"));
}

TEST_F(CommandLine, ConfigCheckTellsEverythingThatIsWrong) {
  const std::string dir = dir_->path() + "/check";
  std::filesystem::create_directories(dir);
  std::ofstream(dir + "/plain") << "no directory";
  std::ofstream(dir + "/bad.yaml") << "scheduler: {addrs: ['a:1']}\nstorage:\n  dir: " << dir
                                   << "/plain\n  keep: perhaps\n"
                                   << "upload: {server: {port: 70000}}\nbackend: {caCert: " << dir
                                   << "/none.pem}\nfoo: 1\n";
  Process check({Program("dfdaemon"), "config", "check", dir + "/bad.yaml"}, dir + "/check.out");
  EXPECT_EQ(check.Wait(kTimeout), 1);
  for (const std::string& line :
       {"error: " + dir + "/bad.yaml:4: storage.keep: must be true or false, not \"perhaps\"\n",
        "error: " + dir + "/bad.yaml:5: upload.server.port: must be a whole number up to 65535, not \"70000\"\n",
        "error: " + dir + "/bad.yaml: storage.dir: " + dir + "/plain is no directory\n",
        "error: " + dir + "/bad.yaml: backend.caCert: " + dir + "/none.pem: No such file or directory\n",
        "warning: " + dir + "/bad.yaml:7: unknown key foo\n", dir + "/bad.yaml is wrong: 4 errors, 1 warning\n"}) {
    EXPECT_THAT(check.Log(), HasSubstr(line));
  }
  Process missing({Program("dfdaemon"), "config", "check", dir + "/none.yaml"}, dir + "/missing.out");
  EXPECT_EQ(missing.Wait(kTimeout), 1);
  EXPECT_THAT(missing.Log(), HasSubstr("none.yaml: No such file or directory"));
}

TEST_F(CommandLine, ConfigCheckLooksAtTheFileAloneWhenToldSo) {
  const std::string dir = dir_->path() + "/file-only";
  std::filesystem::create_directories(dir);
  std::ofstream(dir + "/dfdaemon.yaml") << "backend: {caCert: " << dir << "/none.pem}\n";
  Process all({Program("dfdaemon"), "config", "check", dir + "/dfdaemon.yaml"}, dir + "/all.out");
  EXPECT_EQ(all.Wait(kTimeout), 1) << all.Log();
  Process file({Program("dfdaemon"), "config", "check", "--file-only", dir + "/dfdaemon.yaml"}, dir + "/file.out");
  EXPECT_EQ(file.Wait(kTimeout), 0) << file.Log();
  EXPECT_EQ(file.Log(), dir + "/dfdaemon.yaml is good, 0 warnings\n");
}

TEST_F(CommandLine, ConfigPrintGivesAFileThatLoadsAgain) {
  const std::string dir = dir_->path() + "/print";
  const std::string config = WriteLonelyConfig(dir);
  std::ofstream(config, std::ios::app)
      << "scheduler: {addrs: ['a:1']}\nbackend: {requestHeader: {Authorization: hunter2}}\n";
  Process first({Program("dfdaemon"), "config", "print", "--config", config}, dir + "/first.out");
  EXPECT_EQ(first.Wait(kTimeout), 0) << first.Log();
  std::string yaml = first.Log();
  // Warnings go to standard error, which this file has as well.
  yaml.erase(0, yaml.find("network:"));
  if (const size_t warning = yaml.find("warning:"); warning != std::string::npos) yaml.erase(warning);
  EXPECT_THAT(yaml, HasSubstr("socketMode: \"0666\""));
  EXPECT_THAT(yaml, testing::Not(HasSubstr("hunter2")));
  std::ofstream(dir + "/again.yaml") << yaml;
  Process second({Program("dfdaemon"), "config", "print", "--config", dir + "/again.yaml"}, dir + "/second.out");
  EXPECT_EQ(second.Wait(kTimeout), 0) << second.Log();
  EXPECT_THAT(second.Log(), HasSubstr(yaml));
}

TEST_F(CommandLine, DfdaemonLeavesCleanlyOnSigterm) {
  Peer extra(dir_->path() + "/extra", cluster_->scheduler().port(), {.name = "extra"});
  EXPECT_EQ(extra.process().Terminate(), 0) << extra.process().Log();
  EXPECT_FALSE(std::filesystem::exists(extra.socket()));
}

}  // namespace
}  // namespace dragonfly::e2e
