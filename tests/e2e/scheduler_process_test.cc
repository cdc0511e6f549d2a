// SPDX-License-Identifier: Apache-2.0
// The scheduler as a program: its command line, its configuration, its end.
#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <signal.h>

#include <filesystem>
#include <fstream>
#include <map>

#include "tests/e2e/harness/cluster.h"
#include "tests/e2e/harness/origin.h"
#include "tests/e2e/harness/process.h"
#include "tests/e2e/harness/program_test.h"

namespace dragonfly::e2e {
namespace {

using ::testing::HasSubstr;
using ::testing::Not;
using ::testing::StartsWith;

constexpr auto kTimeout = std::chrono::seconds(30);

class SchedulerProgram : public ProgramTest {
 protected:
  SchedulerProgram() : ProgramTest("scheduler") {}
};

TEST_F(SchedulerProgram, TellsVersionAndHelp) {
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
  Process extra = Run({"extra"});
  EXPECT_EQ(extra.Wait(kTimeout), 2);
}

TEST_F(SchedulerProgram, TakesItsOptionsFromTheEnvironmentToo) {
  const int port = FreePort();
  const std::string file =
      Write("scheduler.yaml", "server: {listenIP: 127.0.0.1, port: 1, logDir: " + Path("log") + "}\n");
  Process run = Run({"--verbose"}, {{"SCHEDULER_CONFIG", file}, {"SCHEDULER_SERVER_PORT", std::to_string(port)}});
  ASSERT_TRUE(Await([&] { return TcpAccepts(port); }, kTimeout)) << run.Log();
  EXPECT_EQ(run.Terminate(), 0);
  EXPECT_TRUE(std::filesystem::exists(Path("log/scheduler/scheduler.log")));

  Process console = Run({"--config", file, "--console"}, {{"SCHEDULER_SERVER_PORT", std::to_string(port)}});
  EXPECT_TRUE(Await([&] { return console.Log().find("serving on port " + std::to_string(port)) != std::string::npos; },
                    kTimeout));
  EXPECT_EQ(console.Terminate(), 0);

  Process missing = Run({"--config", Path("none.yaml")}, {{"SCHEDULER_CONFIG", file}});
  EXPECT_EQ(missing.Wait(kTimeout), 1);
  EXPECT_THAT(missing.Log(), StartsWith("Error: open " + Path("none.yaml") + ": No such file or directory"));
}

TEST_F(SchedulerProgram, ConfigCheckTellsEverythingThatIsWrong) {
  const std::string file = Write("bad.yaml",
                                 "server:\n  port: 70000\n  tls: {caCert: /nowhere/ca.pem, cert: c, key: k}\n"
                                 "manager: {schedulerClusterID: 0}\nfoo: 1\n");
  Process check = Run({"config", "check", file});
  EXPECT_EQ(check.Wait(kTimeout), 1);
  for (const std::string& line :
       {"error: " + file + ":2: server.port: must be a whole number up to 65535, not \"70000\"\n",
        "error: " + file + ":4: manager.schedulerClusterID: must be at least 1\n", "error: " + file + ": server.tls: ",
        "warning: " + file + ":5: unknown key foo\n", file + " is wrong: 3 errors, 1 warning\n"}) {
    EXPECT_THAT(check.Log(), HasSubstr(line));
  }
  const std::string names = Write("names.yaml", "server: {tls: {caCert: /nowhere/ca.pem, cert: c, key: k}}\n");
  Process all = Run({"config", "check", names});
  EXPECT_EQ(all.Wait(kTimeout), 1);
  Process alone = Run({"config", "check", "--file-only", names});
  EXPECT_EQ(alone.Wait(kTimeout), 0);
  EXPECT_EQ(alone.Log(), names + " is good, 0 warnings\n");
}

TEST_F(SchedulerProgram, ConfigPrintGivesAFileThatLoadsAgain) {
  const std::string file = Write("scheduler.yaml", "server: {port: 8003}\ntracing: {headers: {Token: hunter2}}\n");
  Process first = Run({"--config", file, "config", "print"});
  EXPECT_EQ(first.Wait(kTimeout), 0);
  const std::string yaml = first.Log();
  EXPECT_THAT(yaml, HasSubstr("  port: 8003\n"));
  EXPECT_THAT(yaml, HasSubstr("  advertisePort: 8003\n"));
  EXPECT_THAT(yaml, Not(HasSubstr("hunter2")));
  const std::string again = Write("again.yaml", yaml);
  Process second = Run({"--config", again, "config", "print"});
  EXPECT_EQ(second.Wait(kTimeout), 0);
  EXPECT_EQ(second.Log(), yaml);
  Process keys = Run({"config", "keys"});
  EXPECT_EQ(keys.Wait(kTimeout), 0);
  EXPECT_THAT(keys.Log(), HasSubstr("server.port\tport, 1 to 65535\t8002\t\n"));
}

TEST_F(SchedulerProgram, Sigusr1ChangesTheLevelOfItsLogAndNothingElse) {
  const int port = FreePort();
  const std::string file = Write("scheduler.yaml", "server: {listenIP: 127.0.0.1, port: " + std::to_string(port) +
                                                       ", cacheDir: " + Path("cache") + "}\n");
  Process run = Run({"--config", file, "--console"});
  ASSERT_TRUE(Await([&] { return TcpAccepts(port); }, kTimeout)) << run.Log();
  for (const std::string level : {"WARN", "ERROR", "DEBUG", "INFO"}) {
    run.Signal(SIGUSR1);
    EXPECT_TRUE(Await(
        [&] {
          return run.Log().find(level + " main.cc") != std::string::npos &&
                 run.Log().rfind("SIGUSR1") > run.Log().rfind(level + " main.cc");
        },
        kTimeout))
        << level;
  }
  EXPECT_TRUE(TcpAccepts(port));
  EXPECT_EQ(run.Terminate(), 0) << run.Log();
}

TEST_F(SchedulerProgram, ServesHealthMetricsAndProfiles) {
  const int port = FreePort(), metrics = FreePort(), profiles = FreePort();
  const std::string file = Write(
      "scheduler.yaml", "server: {listenIP: 127.0.0.1, port: " + std::to_string(port) + ", cacheDir: " + Path("cache") +
                            "}\nmetrics: {enable: true, addr: '127.0.0.1:" + std::to_string(metrics) +
                            "'}\npprofPort: " + std::to_string(profiles) + "\n");
  Process run = Run({"--config", file, "--console"});
  ASSERT_TRUE(Await([&] { return HttpStatus(metrics, "/healthy") == 200; }, kTimeout)) << run.Log();
  EXPECT_EQ(HttpStatus(metrics, "/readyz"), 200);
  EXPECT_THAT(HttpBody(metrics, "/readyz"), HasSubstr("ready\nok server: serves\n"));
  EXPECT_THAT(HttpBody(metrics, "/metrics"), HasSubstr("dragonfly_scheduler_version{"));
  EXPECT_EQ(HttpStatus(profiles, "/debug/pprof/profile?seconds=1"), 200);
  EXPECT_EQ(run.Terminate(), 0) << run.Log();
}

// Two schedulers, and peers that know both: any of them may die at any moment.
class Schedulers : public ::testing::Test {
 protected:
  Schedulers() : origin_(MakeOriginDir()), a_(dir_.path() + "/a"), b_(dir_.path() + "/b") {
    for (const char* const name : {"one", "two"}) {
      PeerSettings settings;
      settings.name = name;
      settings.more_schedulers = {b_.port()};
      peers_.push_back(std::make_unique<Peer>(dir_.path() + "/" + name, a_.port(), settings));
    }
  }
  std::string MakeOriginDir() const {
    std::filesystem::create_directories(dir_.path() + "/origin");
    return dir_.path() + "/origin";
  }
  std::string Output(const std::string& name) const {
    std::filesystem::create_directories(dir_.path() + "/out");
    return dir_.path() + "/out/" + name;
  }
  void ExpectDownload(size_t peer, const std::string& name, const std::string& as) {
    Process dfget = peers_[peer]->Dfget(origin_.Url(name), Output(as));
    ASSERT_EQ(dfget.Wait(kTimeout), 0) << dfget.Log();
    EXPECT_TRUE(SameContent(origin_.root() + "/" + name, Output(as)));
  }
  // Announcements that `peer` has made to the scheduler so far.
  static size_t Announcements(const Peer& peer, const SchedulerProcess& scheduler) {
    std::ifstream log(peer.dir() + "/log/dfdaemon.log");
    const std::string wanted = "announced to scheduler 127.0.0.1:" + std::to_string(scheduler.port());
    size_t count = 0;
    for (std::string line; std::getline(log, line);) count += line.ends_with(wanted) ? 1 : 0;
    return count;
  }
  // Starts it again, and waits until all of `peers` have seen it and announced themselves. Before that two peers may
  // ask different schedulers for one file: they get it, but not from each other.
  static void StartAgain(const std::vector<SchedulerProcess*>& schedulers, const std::vector<const Peer*>& peers) {
    std::map<std::pair<const Peer*, SchedulerProcess*>, size_t> before;
    for (const Peer* peer : peers) {
      for (SchedulerProcess* scheduler : schedulers) before[{peer, scheduler}] = Announcements(*peer, *scheduler);
    }
    for (SchedulerProcess* scheduler : schedulers) scheduler->Start();
    for (const auto& [key, count] : before) {
      EXPECT_TRUE(Await([&] { return Announcements(*key.first, *key.second) > count; }, kTimeout))
          << key.first->name() << " has not announced itself again to port " << key.second->port();
    }
    for (const Peer* peer : peers) {
      EXPECT_TRUE(Await([&] { return peer->Readiness().find("schedulers: 2 serve") != std::string::npos; }, kTimeout))
          << peer->Readiness();
    }
  }
  // The second peer takes some files from the first, while both use the schedulers that are there.
  void ExpectSharing(const std::string& prefix) {
    constexpr int kFiles = 8;  // so that both schedulers have some
    for (int i = 0; i < kFiles; ++i) {
      const std::string name = prefix + std::to_string(i);
      WriteRandomFile(origin_.root() + "/" + name, (5 << 20) + static_cast<uint64_t>(i), static_cast<uint64_t>(i + 1));
      ExpectDownload(0, name, name + ".one");
      origin_.ClearLog();
      ExpectDownload(1, name, name + ".two");
      EXPECT_EQ(origin_.BytesSent(name), 0u) << name << " was read from the origin again";
    }
  }

  TempDir dir_;
  Origin origin_;
  SchedulerProcess a_, b_;
  std::vector<std::unique_ptr<Peer>> peers_;
};

TEST_F(Schedulers, ADeadOneIsPassedOverAndTakesItsTasksBackLater) {
  ExpectSharing("both");
  b_.Kill();
  ExpectSharing("alone");
  StartAgain({&b_}, {peers_[0].get(), peers_[1].get()});
  ExpectSharing("again");
}

// What it knew is gone; its hosts announce themselves again, and the seed that it asks tells of the copy that it has.
TEST_F(Schedulers, ARestartedOneGetsItsHostsBackAndGivesNoWrongAnswers) {
  PeerSettings settings;
  settings.name = "seed";
  settings.seed = true;
  settings.more_schedulers = {b_.port()};
  const Peer seed(dir_.path() + "/seed", a_.port(), settings);
  WriteRandomFile(origin_.root() + "/kept", 6 << 20);
  ExpectDownload(0, "kept", "before");
  a_.Kill();
  b_.Kill();
  StartAgain({&a_, &b_}, {peers_[0].get(), peers_[1].get(), &seed});
  // Both peers are known again without having been restarted: new files are shared.
  ExpectSharing("new");
  // The file of before comes from the hosts that still have it.
  origin_.ClearLog();
  ExpectDownload(1, "kept", "after");
  EXPECT_EQ(origin_.BytesSent("kept"), 0u);
}

}  // namespace
}  // namespace dragonfly::e2e
