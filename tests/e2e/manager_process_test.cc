// SPDX-License-Identifier: Apache-2.0
// The manager as a program: its command line, its configuration, its first start.
#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <netinet/in.h>
#include <sys/socket.h>
#include <sys/time.h>

#include <array>
#include <atomic>
#include <filesystem>
#include <fstream>
#include <map>
#include <optional>
#include <random>
#include <thread>

#include "base/unique_fd.h"
#include "tests/e2e/harness/cluster.h"
#include "tests/e2e/harness/process.h"
#include "tests/e2e/harness/program_test.h"
#include "tests/support/sql_server.h"

namespace dragonfly::e2e {
namespace {

using ::testing::HasSubstr;
using ::testing::Not;
using ::testing::StartsWith;

constexpr auto kTimeout = std::chrono::seconds(30);

struct HttpReply {
  int status = 0;  // 0: no answer
  std::string body;
};

HttpReply HttpCall(int port, const std::string& method, const std::string& target, const std::string& body,
                   const std::string& token) {
  HttpReply reply;
  const UniqueFd fd(::socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0));
  const timeval patience{20, 0};
  ::setsockopt(fd.get(), SOL_SOCKET, SO_RCVTIMEO, &patience, sizeof patience);
  sockaddr_in address{};
  address.sin_family = AF_INET;
  address.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
  address.sin_port = htons(static_cast<uint16_t>(port));
  if (::connect(fd.get(), reinterpret_cast<sockaddr*>(&address), sizeof address) != 0) return reply;
  const std::string request = method + " " + target + " HTTP/1.1\r\nHost: 127.0.0.1\r\nConnection: close\r\n" +
                              (token.empty() ? "" : "Authorization: Bearer " + token + "\r\n") +
                              "Content-Length: " + std::to_string(body.size()) + "\r\n\r\n" + body;
  if (::send(fd.get(), request.data(), request.size(), MSG_NOSIGNAL) < 0) return reply;
  std::string text;
  std::array<char, 4096> bytes;
  for (ssize_t got; (got = ::recv(fd.get(), bytes.data(), bytes.size(), 0)) > 0;) {
    text.append(bytes.data(), static_cast<size_t>(got));
  }
  const size_t end = text.find("\r\n\r\n");
  if (!text.starts_with("HTTP/1.1 ") || end == std::string::npos) return reply;
  reply.status = std::stoi(text.substr(9, 3));
  reply.body = text.substr(end + 4);
  return reply;
}

class ManagerProgram : public ProgramTest {
 protected:
  ManagerProgram() : ProgramTest("manager") {}
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

// Two managers on one database, killed in turn under load: whoever calls the other one after a failure is answered.
TEST_F(ManagerProgram, IsReplacedByAnotherOnTheSameDatabase) {
  testing::SqlServer database(testing::SqlServer::Kind::kPostgres);
  const auto file = [&](const std::string& name, int rest) {
    return Write(name + ".yaml",
                 "console: true\nserver:\n  dataDir: " + Path(name) +
                     "\n  rest: {addr: \"127.0.0.1:" + std::to_string(rest) +
                     "\"}\n  grpc: {listenIP: 127.0.0.1, port: {start: " + std::to_string(FreePort()) +
                     "}}\nauth: {rootPassword: chosen-by-us}\ndatabase: {postgres: {host: " +
                     "127.0.0.1, user: dragonfly, password: " + std::string(testing::SqlServer::kPassword) +
                     ", port: " + std::to_string(database.port()) + "}}\n");
  };
  const int ports[2] = {FreePort(), FreePort()};
  const std::string files[2] = {file("a", ports[0]), file("b", ports[1])};
  std::optional<Process> managers[2];
  for (int i = 0; i < 2; ++i) {
    managers[i].emplace(Run({"--config", files[i]}));
    ASSERT_TRUE(Await([&] { return TcpAccepts(ports[i]); }, kTimeout)) << managers[i]->Log();
  }
  const HttpReply signed_in =
      HttpCall(ports[0], "POST", "/api/v1/users/signin", R"({"name":"root","password":"chosen-by-us"})", "");
  ASSERT_EQ(signed_in.status, 200) << signed_in.body;
  const std::string begin = "\"token\":\"";
  const size_t at = signed_in.body.find(begin) + begin.size();
  const std::string token = signed_in.body.substr(at, signed_in.body.find('"', at) - at);

  std::atomic<bool> stop = false;
  std::atomic<int> served = 0, retried = 0, failed = 0;
  std::vector<std::thread> callers;
  for (int caller = 0; caller < 4; ++caller) {
    callers.emplace_back([&, caller] {
      for (int n = 0, to = caller % 2; !stop; ++n) {
        const std::string name = "c" + std::to_string(caller) + "-" + std::to_string(n);
        const std::string body = R"({"name":")" + name + R"(","value":"v","user_id":1})";
        const auto call = [&](int port) {
          return n % 2 == 0 ? HttpCall(port, "GET", "/api/v1/users", "", token).status
                            : HttpCall(port, "POST", "/api/v1/configs", body, token).status;
        };
        int status = call(ports[to]);
        if (status == 0 || status >= 500) {
          ++retried;
          to = 1 - to;
          status = call(ports[to]);
          // What was written before its answer was lost is there already.
          if (status == 409) status = 200;
        }
        ++(status == 200 ? served : failed);
      }
    });
  }
  std::minstd_rand random(3);
  for (int round = 0; round < 6; ++round) {
    const int before = served;
    const int wanted = 20 + static_cast<int>(random() % 60);
    ASSERT_TRUE(Await([&] { return served - before >= wanted; }, kTimeout));
    const int victim = static_cast<int>(random() % 2);
    managers[victim]->Kill();
    // Alone for a while.
    const int alone = served;
    ASSERT_TRUE(Await([&] { return served - alone >= 20; }, kTimeout));
    managers[victim].emplace(Run({"--config", files[victim]}));
    ASSERT_TRUE(Await([&] { return TcpAccepts(ports[victim]); }, kTimeout)) << managers[victim]->Log();
  }
  stop = true;
  for (std::thread& caller : callers) caller.join();
  EXPECT_EQ(failed, 0);
  EXPECT_GT(retried, 0);
  EXPECT_GT(served, 200);
}

}  // namespace
}  // namespace dragonfly::e2e
