// SPDX-License-Identifier: Apache-2.0
// A persistent cache task on five hosts with networks of their own: the importer dies, a replica dies, all but the last
// die, and scheduler and Redis in between.
#include <gtest/gtest.h>

#include <cstdlib>
#include <filesystem>
#include <fstream>
#include <memory>
#include <regex>
#include <set>
#include <vector>

#include "base/digest.h"
#include "tests/e2e/harness/cluster.h"
#include "tests/e2e/harness/network.h"
#include "tests/e2e/harness/peer_host.h"
#include "tests/support/redis_server.h"

namespace dragonfly::e2e {
namespace {

using namespace std::chrono_literals;

constexpr size_t kHosts = 5;
constexpr int kFirstNumber = 11;
constexpr auto kPatience = 180s;
// Of scheduler.gc.hostGCInterval, which is how often the scheduler looks after replicas.
constexpr auto kHealingInterval = 15s;

// DF_PERSISTENT_MIB sets another; the full form is 2048. Five copies and the file itself lie on the disk at most.
uint64_t FileBytes() {
  const char* text = std::getenv("DF_PERSISTENT_MIB");
  return ((text != nullptr ? std::strtoull(text, nullptr, 10) : 256) << 20) + 4711;
}

class PersistentHosts : public ::testing::Test {
 protected:
  static void SetUpTestSuite() { has_network_ = EnterOwnNetwork(); }
  void SetUp() override {
    if (!has_network_) GTEST_SKIP() << "needs the rights to make network namespaces";
    redis_ = std::make_unique<dragonfly::testing::RedisServer>(std::vector<std::string>{"--appendonly", "yes"});
    std::filesystem::create_directories(dir_.path() + "/scheduler");
    StartScheduler();
    const std::string lines = "gc:\n  interval: 1s\n  policy:\n    distHighThresholdPercent: 99\n";
    for (size_t i = 0; i < kHosts; ++i) {
      const int number = kFirstNumber + static_cast<int>(i);
      hosts_.push_back(
          std::make_unique<PeerHost>(dir_.path() + "/host-" + std::to_string(number), number, false, lines));
      alive_.insert(i);
    }
  }

  void StartScheduler() {
    const std::string dir = dir_.path() + "/scheduler";
    std::ofstream(dir + "/scheduler.yaml")
        << "server:\n  listenIP: " << kCenter << "\n  advertiseIP: " << kCenter << "\n  port: 8002\n  logDir: " << dir
        << "/log\n  dataDir: " << dir << "/data\n  cacheDir: " << dir << "/cache\n  pluginDir: " << dir
        << "/plugins\nscheduler:\n  gc:\n    hostGCInterval: " << kHealingInterval.count()
        << "s\ndatabase:\n  redis:\n    addrs: ['" << redis_->address() << "']\n";
    scheduler_ =
        Process({Program("scheduler"), "--config", dir + "/scheduler.yaml", "--console"}, dir + "/scheduler.out");
  }
  // All at once, as if their machine lost its power; nobody says good-bye.
  void Kill(size_t host) {
    hosts_[host]->daemon().Kill();
    // nsenter has become the daemon.
    std::filesystem::remove_all(hosts_[host]->host().dir() + "/storage");
    alive_.erase(host);
  }
  Process StartDfcache(size_t host, std::vector<std::string> arguments) {
    arguments.insert(arguments.begin(), Program("dfcache"));
    arguments.insert(arguments.end(), {"--endpoint", hosts_[host]->host().dir() + "/dfdaemon.sock"});
    return hosts_[host]->host().Start(std::move(arguments), "dfcache-" + std::to_string(runs_++) + ".out");
  }
  std::string Dfcache(size_t host, std::vector<std::string> arguments, int* code = nullptr) {
    Process run = StartDfcache(host, std::move(arguments));
    const std::optional<int> ended = run.Wait(kPatience);
    if (code != nullptr) *code = ended.value_or(-1);
    return run.Log();
  }
  int64_t Replicas(const std::string& id) {
    const std::string text = Dfcache(*alive_.rbegin(), {"stat", id, "--json"});
    std::smatch match;
    if (!std::regex_search(text, match, std::regex("\"current_persistent_replica_count\": ([0-9]+)"))) return -1;
    return std::strtoll(match[1].str().c_str(), nullptr, 10);
  }
  bool Holds(size_t host, const std::string& id) { return Dfcache(host, {"list"}).find(id) != std::string::npos; }
  size_t Holders(const std::string& id) {
    size_t count = 0;
    for (const size_t host : alive_) count += Holds(host, id) ? 1 : 0;
    return count;
  }
  void ExpectExport(size_t host, const std::string& id, const std::string& original) {
    const std::string output = hosts_[host]->host().dir() + "/exported";
    int code = -1;
    const std::string text = Dfcache(host, {"export", id, "-O", output, "--overwrite"}, &code);
    EXPECT_EQ(code, 0) << text << hosts_[host]->daemon().Log();
    EXPECT_TRUE(SameContent(original, output));
    std::filesystem::remove(output);
  }

  static inline bool has_network_ = false;
  TempDir dir_;
  std::unique_ptr<dragonfly::testing::RedisServer> redis_;
  Process scheduler_;
  std::vector<std::unique_ptr<PeerHost>> hosts_;
  std::set<size_t> alive_;
  int runs_ = 0;
};

TEST_F(PersistentHosts, AFileOutlivesAllHostsButOne) {
  const std::string original = dir_.path() + "/original";
  WriteRandomFile(original, FileBytes());
  Process import = StartDfcache(0, {"import", original, "--persistent-replica-count", "3", "--ttl", "1h"});
  ASSERT_EQ(import.Wait(kPatience), 0) << import.Log();
  std::smatch match;
  const std::string printed = import.Log();
  ASSERT_TRUE(std::regex_search(printed, match, std::regex("Done: ([0-9a-f]{64})"))) << printed;
  const std::string id = match[1].str();
  ASSERT_TRUE(Await([&] { return Replicas(id) == 3; }, kPatience)) << scheduler_.Log();

  // The importer dies, and another host exports.
  Kill(0);
  for (const size_t host : alive_) {
    if (Holds(host, id)) continue;
    ExpectExport(host, id, original);
    break;
  }
  ASSERT_TRUE(Await([&] { return Holders(id) >= 3 && Replicas(id) == 3; }, kPatience)) << scheduler_.Log();

  // Redis and the scheduler die, and come back.
  redis_->Restart();
  scheduler_.Kill();
  StartScheduler();
  ASSERT_TRUE(Await([&] { return Replicas(id) == 3; }, kPatience)) << scheduler_.Log();

  // A second replica dies: one look finds it, and by the next there are three again.
  size_t second = 0;
  for (const size_t host : alive_) {
    if (Holds(host, id)) second = host;
  }
  const auto killed = std::chrono::steady_clock::now();
  Kill(second);
  ASSERT_TRUE(Await([&] { return Holders(id) == 3 && Replicas(id) == 3; }, kPatience)) << scheduler_.Log();
  const auto took = std::chrono::steady_clock::now() - killed;
  EXPECT_LT(took, 2 * kHealingInterval);
  RecordProperty("healed_ms", static_cast<int>(std::chrono::duration_cast<std::chrono::milliseconds>(took).count()));

  // All but the last go, with the scheduler and Redis once more.
  while (alive_.size() > 1) Kill(*alive_.begin());
  redis_->Restart();
  scheduler_.Kill();
  StartScheduler();
  const size_t last = *alive_.begin();
  ASSERT_TRUE(Await([&] { return Dfcache(last, {"stat", id}).find("Succeeded") != std::string::npos; }, kPatience));
  ExpectExport(last, id, original);
}

}  // namespace
}  // namespace dragonfly::e2e
