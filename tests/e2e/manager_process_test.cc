// SPDX-License-Identifier: Apache-2.0
// The manager as a program: its command line, its configuration, its first start.
#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <filesystem>
#include <fstream>
#include <map>

#include "tests/e2e/harness/cluster.h"
#include "tests/e2e/harness/process.h"

namespace dragonfly::e2e {
namespace {

using ::testing::HasSubstr;
using ::testing::Not;
using ::testing::StartsWith;

constexpr auto kTimeout = std::chrono::seconds(30);

class ManagerProgram : public ::testing::Test {
 protected:
  std::string Path(const std::string& name) const { return dir_.path() + "/" + name; }
  std::string Write(const std::string& name, const std::string& text) const {
    std::ofstream(Path(name)) << text;
    return Path(name);
  }
  Process Run(std::vector<std::string> arguments, const std::map<std::string, std::string>& environment = {}) {
    arguments.insert(arguments.begin(), Program("manager"));
    return Process(std::move(arguments), Path("out" + std::to_string(++runs_)), environment);
  }

 private:
  TempDir dir_;
  int runs_ = 0;
};

TEST_F(ManagerProgram, TellsVersionAndHelp) {
  for (const std::vector<std::string>& words : {std::vector<std::string>{"--help"},
                                                {"version", "--help"},
                                                {"config", "--help"},
                                                {"config", "check", "--help"},
                                                {"config", "print", "--help"},
                                                {"config", "keys", "--help"}}) {
    Process help = Run(words);
    EXPECT_EQ(help.Wait(kTimeout), 0);
    EXPECT_THAT(help.Log(), HasSubstr("--help"));
  }
  Process version = Run({"version"});
  EXPECT_EQ(version.Wait(kTimeout), 0);
  EXPECT_THAT(version.Log(), StartsWith("MajorVersion:\t2\nMinorVersion:\t3\nGitVersion:\tv"));
  Process wrong = Run({"--bogus"});
  EXPECT_EQ(wrong.Wait(kTimeout), 2);
}

TEST_F(ManagerProgram, ShowsTheFirstPasswordOnce) {
  const int port = FreePort();
  const std::string file =
      Write("manager.yaml", "server: {dataDir: " + Path("data") + ", logDir: " + Path("log") +
                                ", grpc: {listenIP: 127.0.0.1, port: {start: " + std::to_string(FreePort()) + "}}}\n");
  const std::map<std::string, std::string> environment = {
      {"MANAGER_CONFIG", file}, {"MANAGER_SERVER_REST_ADDR", "127.0.0.1:" + std::to_string(port)}};
  Process first = Run({"--verbose"}, environment);
  ASSERT_TRUE(Await([&] { return TcpAccepts(port); }, kTimeout)) << first.Log();
  EXPECT_TRUE(
      Await([&] { return first.Log().find("sign in as user root with password ") != std::string::npos; }, kTimeout));
  EXPECT_EQ(first.Terminate(), 0);
  // Not in the log, where it would stay.
  std::ifstream log(Path("log/manager/manager.log"));
  const std::string text((std::istreambuf_iterator<char>(log)), std::istreambuf_iterator<char>());
  EXPECT_THAT(text, HasSubstr("serving gRPC on port"));
  EXPECT_THAT(text, Not(HasSubstr("with password")));

  Process second = Run({"--console"}, environment);
  ASSERT_TRUE(Await([&] { return TcpAccepts(port); }, kTimeout)) << second.Log();
  EXPECT_EQ(second.Terminate(), 0);
  EXPECT_THAT(second.Log(), Not(HasSubstr("with password")));
}

TEST_F(ManagerProgram, SaysWhatKeepsItFromStarting) {
  Process missing = Run({"--config", Path("none.yaml")});
  EXPECT_EQ(missing.Wait(kTimeout), 1);
  EXPECT_THAT(missing.Log(), StartsWith("Error: open " + Path("none.yaml") + ": No such file or directory"));
  const std::string file = Write(
      "manager.yaml",
      "console: true\ndatabase: {postgres: {user: u, host: 127.0.0.1, port: " + std::to_string(FreePort()) + "}}\n");
  Process no_database = Run({"--config", file});
  EXPECT_EQ(no_database.Wait(kTimeout), 1);
  EXPECT_THAT(no_database.Log(), HasSubstr("connect to PostgreSQL 127.0.0.1:"));
}

TEST_F(ManagerProgram, ConfigCheckTellsEverythingThatIsWrong) {
  const std::string file =
      Write("bad.yaml", "server:\n  grpc: {port: {start: 0}}\nauth: {jwt: {keyFile: /nowhere/key}}\nfoo: 1\n");
  Process check = Run({"config", "check", file});
  EXPECT_EQ(check.Wait(kTimeout), 1);
  for (const std::string& line : {"error: " + file + ":2: server.grpc.port.start: ",
                                  "error: " + file + ": auth.jwt.keyFile: cannot read /nowhere/key",
                                  "warning: " + file + ":4: unknown key foo\n"}) {
    EXPECT_THAT(check.Log(), HasSubstr(line));
  }
  const std::string names = Write("names.yaml", "auth: {jwt: {keyFile: /nowhere/key}}\n");
  Process alone = Run({"config", "check", "--file-only", names});
  EXPECT_EQ(alone.Wait(kTimeout), 0);
  EXPECT_EQ(alone.Log(), names + " is good, 0 warnings\n");
}

TEST_F(ManagerProgram, ConfigPrintGivesAFileThatLoadsAgain) {
  const std::string file =
      Write("manager.yaml", "server: {grpc: {port: {start: 65004}}}\nauth: {jwt: {key: hunter2}}\n");
  Process first = Run({"--config", file, "config", "print"});
  EXPECT_EQ(first.Wait(kTimeout), 0);
  const std::string yaml = first.Log();
  EXPECT_THAT(yaml, HasSubstr("start: 65004\n"));
  EXPECT_THAT(yaml, Not(HasSubstr("hunter2")));
  Process second = Run({"--config", Write("again.yaml", yaml), "config", "print"});
  EXPECT_EQ(second.Wait(kTimeout), 0);
  EXPECT_EQ(second.Log(), yaml);
}

}  // namespace
}  // namespace dragonfly::e2e
