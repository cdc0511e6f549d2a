// SPDX-License-Identifier: Apache-2.0
// Files that the cluster keeps: through the death of any host but the last, and of scheduler and Redis.
#include <gtest/gtest.h>

#include <algorithm>
#include <cstdlib>
#include <filesystem>
#include <fstream>
#include <functional>
#include <memory>
#include <optional>
#include <random>
#include <regex>
#include <set>

#include "base/digest.h"
#include "common/v2/common.pb.h"
#include "dfdaemon/v2/dfdaemon.pb.h"
#include "rpc/unix_client.h"
#include "tests/e2e/harness/cluster.h"
#include "tests/support/redis_server.h"

namespace dragonfly::e2e {
namespace {

using namespace std::chrono_literals;

constexpr uint64_t kMiB = 1 << 20;
constexpr auto kPatience = 120s;

// Length of the file; DF_PERSISTENT_MIB sets another.
uint64_t FileBytes() {
  const char* text = std::getenv("DF_PERSISTENT_MIB");
  return (text != nullptr ? std::strtoull(text, nullptr, 10) : 96) * kMiB + 4711;
}

// A cluster of equal peers whose scheduler looks after replicas every second.
class PersistentCluster {
 public:
  // `download`: further lines of the peers' section of that name; `policy`: of gc.policy, with their indentation.
  explicit PersistentCluster(size_t peers, const std::string& redis = "", const std::string& download = "",
                             const std::string& policy = "    distHighThresholdPercent: 99\n") {
    std::string extra = "scheduler:\n  gc:\n    hostGCInterval: 1s\n";
    if (!redis.empty()) extra += "database:\n  redis:\n    addrs: [\"" + redis + "\"]\n";
    scheduler_ = std::make_unique<SchedulerProcess>(dir_.path() + "/scheduler", extra);
    for (size_t i = 0; i < peers; ++i) {
      const std::string name = "peer-" + std::to_string(i);
      peers_.push_back(std::make_unique<Peer>(
          dir_.path() + "/" + name, scheduler_->port(),
          PeerSettings{.name = name, .extra = "gc:\n  interval: 1s\n  policy:\n" + policy, .download = download}));
    }
  }

  std::string Path(const std::string& name) const { return dir_.path() + "/" + name; }
  Peer& peer(size_t index) { return *peers_[index]; }
  SchedulerProcess& scheduler() { return *scheduler_; }

  struct Result {
    int exit_code;
    std::string text;
  };
  Result Dfcache(size_t peer, std::vector<std::string> arguments) {
    Process run = StartDfcache(peer, std::move(arguments));
    const auto code = run.Wait(kPatience);
    return {code.value_or(-1), run.Log()};
  }
  Process StartDfcache(size_t peer, std::vector<std::string> arguments) {
    std::vector<std::string> argv = {Program("dfcache")};
    argv.insert(argv.end(), arguments.begin(), arguments.end());
    argv.insert(argv.end(), {"--endpoint", peers_[peer]->socket()});
    return Process(std::move(argv), dir_.path() + "/dfcache-" + std::to_string(runs_++) + ".out");
  }
  // The id of the imported file.
  std::string Import(size_t peer, const std::string& path, const std::string& replicas) {
    const Result result = Dfcache(peer, {"import", path, "--persistent-replica-count", replicas, "--ttl", "1h"});
    EXPECT_EQ(result.exit_code, 0) << result.text << peers_[peer]->process().Log();
    std::smatch match;
    EXPECT_TRUE(std::regex_search(result.text, match, std::regex("Done: ([0-9a-f]{64})"))) << result.text;
    return match.size() > 1 ? match[1].str() : "";
  }
  // A number of `dfcache stat --json`; -1 when there is none.
  int64_t Stat(size_t peer, const std::string& id, const std::string& name) {
    const Result result = Dfcache(peer, {"stat", id, "--json"});
    std::smatch match;
    if (!std::regex_search(result.text, match, std::regex("\"" + name + "\": ([0-9]+)"))) return -1;
    return std::strtoll(match[1].str().c_str(), nullptr, 10);
  }
  bool AwaitReplicas(size_t peer, const std::string& id, int64_t count) {
    return Await([&] { return Stat(peer, id, "current_persistent_replica_count") == count; }, kPatience);
  }
  // Until the peer has received something from another one.
  bool AwaitPieces(size_t peer) {
    return Await([&] { return peers_[peer]->Metric("dragonfly_client_download_traffic", "REMOTE_PEER") > 0; },
                 kPatience);
  }
  bool Holds(size_t peer, const std::string& id) { return Dfcache(peer, {"list"}).text.find(id) != std::string::npos; }
  void ExpectExport(size_t peer, const std::string& id, const std::string& original) {
    const std::string output = Path("exported-" + std::to_string(runs_));
    const Result result = Dfcache(peer, {"export", id, "-O", output});
    EXPECT_EQ(result.exit_code, 0) << result.text << peers_[peer]->process().Log();
    EXPECT_TRUE(SameContent(original, output));
    std::filesystem::remove(output);
  }
  // Regular files of the persistent cache below the peer's storage, but for its lock.
  size_t FilesKept(size_t peer) {
    size_t count = 0;
    for (const auto& entry :
         std::filesystem::recursive_directory_iterator(peers_[peer]->storage() + "/persistent-cache")) {
      if (entry.is_regular_file() && entry.path().filename() != "LOCK") ++count;
    }
    return count;
  }

 private:
  TempDir dir_;
  std::unique_ptr<SchedulerProcess> scheduler_;
  std::vector<std::unique_ptr<Peer>> peers_;
  int runs_ = 0;
};

// Importer and replicas die one after another, scheduler and Redis are killed in between.
void SurviveEverything(PersistentCluster& cluster, const std::function<void()>& restart_store) {
  const std::string original = cluster.Path("original");
  WriteRandomFile(original, FileBytes());
  const std::string id = cluster.Import(0, original, "3");
  ASSERT_FALSE(id.empty());
  ASSERT_TRUE(cluster.AwaitReplicas(4, id, 3)) << cluster.scheduler().process().Log();

  // The importer dies: the file is there all the same, and three replicas again.
  cluster.peer(0).process().Kill();
  std::filesystem::remove_all(cluster.peer(0).storage());
  for (size_t i = 1; i < 5; ++i) {
    if (!cluster.Holds(i, id)) {
      cluster.ExpectExport(i, id, original);
      break;
    }
  }
  ASSERT_TRUE(Await(
      [&] {
        int held = 0;
        for (size_t i = 1; i < 5; ++i) held += cluster.Holds(i, id) ? 1 : 0;
        return held >= 3 && cluster.Stat(4, id, "current_persistent_replica_count") == 3;
      },
      kPatience))
      << cluster.scheduler().process().Log();

  restart_store();
  cluster.scheduler().Restart();
  ASSERT_TRUE(Await([&] { return cluster.Stat(4, id, "persistent_replica_count") == 3; }, kPatience))
      << cluster.scheduler().process().Log();

  // A second replica dies: of the three hosts that are left each gets one.
  size_t second = 1;
  while (!cluster.Holds(second, id)) ++second;
  cluster.peer(second).process().Kill();
  std::set<size_t> left = {1, 2, 3, 4};
  left.erase(second);
  ASSERT_TRUE(Await(
      [&] {
        for (const size_t i : left) {
          if (!cluster.Holds(i, id)) return false;
        }
        return cluster.Stat(*left.begin(), id, "current_persistent_replica_count") == 3;
      },
      kPatience))
      << cluster.scheduler().process().Log();
  for (const size_t i : left) cluster.ExpectExport(i, id, original);

  // All but the last host go, and that one is restarted.
  while (left.size() > 1) {
    cluster.peer(*left.begin()).process().Kill();
    left.erase(left.begin());
  }
  cluster.peer(*left.begin()).Restart();
  cluster.ExpectExport(*left.begin(), id, original);
}

TEST(PersistentCache, SurvivesTheDeathOfAllHostsButOneWithItsOwnStore) {
  PersistentCluster cluster(5);
  SurviveEverything(cluster, [] {});
}

TEST(PersistentCache, SurvivesTheDeathOfAllHostsButOneWithRedis) {
  dragonfly::testing::RedisServer redis;
  PersistentCluster cluster(5, redis.address());
  SurviveEverything(cluster, [&redis] { redis.Restart(); });
}

TEST(PersistentCache, KeepsNothingOfAFailedImport) {
  PersistentCluster cluster(1);
  const std::string original = cluster.Path("original");
  WriteRandomFile(original, 9 * kMiB);
  cluster.scheduler().process().Kill();
  const auto failed = cluster.Dfcache(0, {"import", original});
  EXPECT_EQ(failed.exit_code, 1);
  EXPECT_NE(failed.text.find("Importing Failed!"), std::string::npos) << failed.text;
  EXPECT_LE(cluster.FilesKept(0), 1u) << "at most the note that the scheduler may have heard of it";
  cluster.scheduler().Restart();
  EXPECT_TRUE(Await([&] { return cluster.FilesKept(0) == 0; }, kPatience));
  ASSERT_TRUE(Await(
      [&] {
        const auto again = cluster.Dfcache(0, {"import", original, "--persistent-replica-count", "1"});
        return again.exit_code == 0;
      },
      kPatience));
  EXPECT_EQ(cluster.FilesKept(0), 3u) << "content, its log and the record";
}

// The file changes under the import: it fails, and so does every replica that was being made of it.
TEST(PersistentCache, KeepsNothingOfAnImportWhoseFileChanges) {
  PersistentCluster cluster(3);
  const std::string original = cluster.Path("original");
  WriteRandomFile(original, std::max(FileBytes(), 384 * kMiB));
  const std::string text = "a file that changes";
  Process import = cluster.StartDfcache(
      0, {"import", original, "--content-for-calculating-task-id", text, "--persistent-replica-count", "3"});
  // From here on the file is known as it was.
  const std::string record = cluster.peer(0).storage() + "/persistent-cache/records/" + Sha256Hex(text);
  EXPECT_TRUE(Await([&] { return std::filesystem::exists(record); }, kPatience));
  std::optional<int> code;
  // It grows as long as it is read.
  while (!code) {
    std::ofstream(original, std::ios::app) << "x" << std::flush;
    code = import.Wait(std::chrono::milliseconds(1));
  }
  ASSERT_EQ(code, 1) << import.Log();
  EXPECT_NE(import.Log().find("changed while it was imported"), std::string::npos) << import.Log();
  const auto stat = cluster.Dfcache(1, {"stat", Sha256Hex(text)});
  EXPECT_EQ(stat.exit_code, 1);
  EXPECT_NE(stat.text.find("not found"), std::string::npos) << stat.text;
  for (size_t i = 0; i < 3; ++i) {
    EXPECT_TRUE(Await([&] { return cluster.FilesKept(i) == 0; }, kPatience)) << "host " << i;
  }
}

TEST(PersistentCache, HasPiecesOfAReplicaBeforeTheImportEnds) {
  PersistentCluster cluster(2);
  const std::string original = cluster.Path("original");
  // Long enough that nothing is over before it was looked at; what follows the first part is zeros.
  WriteRandomFile(original, std::max(FileBytes(), 384 * kMiB));
  std::filesystem::resize_file(original, 2048 * kMiB);
  Process import = cluster.StartDfcache(
      0, {"import", original, "--content-for-calculating-task-id", "streamed", "--persistent-replica-count", "2"});
  EXPECT_TRUE(cluster.AwaitPieces(1));
  EXPECT_TRUE(import.Running()) << "a replica was begun only after the import";
  EXPECT_EQ(import.Wait(kPatience), 0) << import.Log();
  EXPECT_TRUE(cluster.AwaitReplicas(0, Sha256Hex("streamed"), 2));
  cluster.ExpectExport(1, Sha256Hex("streamed"), original);
}

// A disk is replaced while the daemon is down, the files are removed below a daemon that runs: the host answers, has
// nothing, and the scheduler asks.
TEST(PersistentCache, NoticesAHostThatIsUpAndHasLostItsCopy) {
  PersistentCluster cluster(3);
  const std::string original = cluster.Path("original");
  WriteRandomFile(original, 9 * kMiB);
  const std::string id = cluster.Import(0, original, "2");
  ASSERT_TRUE(cluster.AwaitReplicas(0, id, 2));
  const auto holders = [&] {
    std::set<size_t> held;
    for (size_t i = 0; i < 3; ++i) {
      if (cluster.Holds(i, id)) held.insert(i);
    }
    return held;
  };
  const std::string directory = cluster.peer(0).storage() + "/persistent-cache";
  cluster.peer(0).process().Kill();
  std::filesystem::remove_all(directory);
  cluster.peer(0).Restart();
  EXPECT_TRUE(Await(
      [&] { return holders().size() >= 2 && cluster.Stat(0, id, "current_persistent_replica_count") == 2; }, kPatience))
      << cluster.scheduler().process().Log();
  EXPECT_NE(cluster.scheduler().process().Log().find("has lost its copy"), std::string::npos)
      << cluster.scheduler().process().Log();

  // Now the files of one go from below a daemon that runs.
  const size_t victim = *holders().begin();
  for (const auto& entry :
       std::filesystem::recursive_directory_iterator(cluster.peer(victim).storage() + "/persistent-cache/content")) {
    if (entry.is_regular_file()) std::filesystem::remove(entry.path());
  }
  EXPECT_TRUE(Await(
      [&] {
        const std::set<size_t> held = holders();
        for (const size_t i : held) {
          if (cluster.FilesKept(i) < 3) return false;  // content, its log and the record
        }
        return held.size() >= 2 && cluster.Stat(0, id, "current_persistent_replica_count") == 2;
      },
      kPatience))
      << cluster.scheduler().process().Log() << cluster.peer(victim).process().Log();
  for (size_t i = 0; i < 3; ++i) cluster.ExpectExport(i, id, original);
}

TEST(PersistentCache, LinksTheFileWhenItMay) {
  PersistentCluster cluster(2);
  const std::string original = cluster.Path("original");
  WriteRandomFile(original, 9 * kMiB);
  const auto imported = cluster.Dfcache(
      0, {"import", original, "--hard-link", "--persistent-replica-count", "1", "--ttl", "1h", "--json"});
  ASSERT_EQ(imported.exit_code, 0) << imported.text;
  EXPECT_NE(imported.text.find("\"method\": \"hard_link\""), std::string::npos) << imported.text;
  EXPECT_EQ(std::filesystem::hard_link_count(original), 2u);
  std::smatch match;
  ASSERT_TRUE(std::regex_search(imported.text, match, std::regex("\"id\": \"([0-9a-f]{64})\"")));
  const std::string id = match[1].str();
  const std::string output = cluster.Path("exported");
  const auto exported = cluster.Dfcache(1, {"export", id, "-O", output});
  EXPECT_EQ(exported.exit_code, 0) << exported.text;
  EXPECT_TRUE(SameContent(original, output));
  // Who changes the file has no copy any more, and the one on the other host is promised to be kept in its place.
  std::ofstream(original, std::ios::in | std::ios::out) << "changed";
  EXPECT_TRUE(Await([&] { return cluster.FilesKept(0) == 0 || !cluster.Holds(0, id); }, kPatience))
      << cluster.peer(0).process().Log();
  EXPECT_TRUE(cluster.AwaitReplicas(1, id, 1));
  EXPECT_TRUE(cluster.Holds(1, id));
}

TEST(PersistentCache, TwoImportsOfOneContentAreOneTask) {
  PersistentCluster cluster(2);
  const std::string original = cluster.Path("original");
  WriteRandomFile(original, 9 * kMiB);
  const std::string id = cluster.Import(0, original, "1");
  EXPECT_EQ(cluster.Import(0, original, "1"), id);
  EXPECT_EQ(cluster.Import(1, original, "1"), id);
  EXPECT_FALSE(cluster.Holds(1, id));
  EXPECT_EQ(cluster.Stat(1, id, "current_replica_count"), 1);
}

TEST(PersistentCache, RemovesATaskAlsoFromAHostThatWasAway) {
  PersistentCluster cluster(2);
  const std::string original = cluster.Path("original");
  WriteRandomFile(original, 9 * kMiB);
  const std::string id = cluster.Import(0, original, "2");
  ASSERT_TRUE(cluster.AwaitReplicas(0, id, 2));
  cluster.peer(1).process().Kill();
  const auto removed = cluster.Dfcache(0, {"remove", id});
  EXPECT_EQ(removed.exit_code, 0) << removed.text;
  EXPECT_EQ(cluster.FilesKept(0), 0u);
  EXPECT_EQ(cluster.Dfcache(0, {"stat", id}).exit_code, 1);
  EXPECT_EQ(cluster.Dfcache(0, {"export", id, "-O", cluster.Path("out")}).exit_code, 1);
  EXPECT_FALSE(std::filesystem::exists(cluster.Path("out")));
  cluster.peer(1).Restart();
  EXPECT_TRUE(Await([&] { return cluster.FilesKept(1) == 0; }, kPatience));
}

// Copies that nobody has promised to keep make room, promised ones do not, and nothing is lost.
TEST(PersistentCache, GivesUpOnlyCopiesThatAnotherHostHasPromisedToKeep) {
  PersistentCluster cluster(
      2, "", "", "    diskThreshold: 64MiB\n    diskHighThresholdPercent: 50\n    diskLowThresholdPercent: 10\n");
  std::vector<std::string> originals, ids;
  for (uint64_t i = 0; i < 4; ++i) {
    originals.push_back(cluster.Path("original-" + std::to_string(i)));
    WriteRandomFile(originals.back(), 9 * kMiB, i);
    ids.push_back(cluster.Import(0, originals.back(), "1"));
    ASSERT_FALSE(ids.back().empty());
    cluster.ExpectExport(1, ids.back(), originals.back());
  }
  const auto held = [&](size_t peer) {
    return std::count_if(ids.begin(), ids.end(), [&](const std::string& id) { return cluster.Holds(peer, id); });
  };
  EXPECT_TRUE(Await([&] { return held(1) <= 1; }, kPatience)) << cluster.peer(1).process().Log();
  EXPECT_EQ(held(0), 4) << "a promise is kept on a full disk, too";
  for (size_t i = 0; i < 4; ++i) {
    EXPECT_GE(cluster.Stat(0, ids[i], "current_persistent_replica_count"), 1);
    cluster.ExpectExport(1, ids[i], originals[i]);
  }
}

// What the record of a copy says, changed while the daemon is away: the shortest time to live is five minutes.
TEST(PersistentCache, RemovesACopyWhoseTimeIsOver) {
  PersistentCluster cluster(2);
  const std::string original = cluster.Path("original");
  WriteRandomFile(original, 9 * kMiB);
  const std::string id = cluster.Import(0, original, "2");
  ASSERT_TRUE(cluster.AwaitReplicas(0, id, 2));
  cluster.peer(1).process().Kill();
  const std::string path = cluster.peer(1).storage() + "/persistent-cache/records/" + id;
  std::string record;
  std::getline(std::ifstream(path), record, '\0');
  const std::string changed = std::regex_replace(record, std::regex("\"ttl_seconds\":3600"), "\"ttl_seconds\":1");
  ASSERT_NE(record, changed) << record;
  std::ofstream(path) << changed;
  cluster.peer(1).Restart();
  EXPECT_TRUE(Await([&] { return cluster.FilesKept(1) == 0; }, kPatience)) << cluster.peer(1).process().Log();
  EXPECT_FALSE(cluster.Holds(1, id));
  cluster.ExpectExport(0, id, original);
}

TEST(PersistentCache, AnImportThatNamesNoTimeLivesAsLongAsTheConfigurationSays) {
  PersistentCluster cluster(1, "", "", "    distHighThresholdPercent: 99\n    persistentCacheTaskTTL: 17m\n");
  const std::string original = cluster.Path("original");
  WriteRandomFile(original, 5 * kMiB);
  dfdaemon::v2::UploadPersistentCacheTaskRequest request;
  request.set_path(original);
  request.set_persistent_replica_count(1);
  common::v2::PersistentCacheTask task;
  auto client = rpc::UnixClient::Connect(cluster.peer(0).socket());
  ASSERT_TRUE(client.ok()) << client.status();
  const absl::Status called = (*client)->Call(
      "/dfdaemon.v2.DfdaemonDownload/UploadPersistentCacheTask", request.SerializeAsString(),
      [&task](std::string_view bytes) {
        return task.ParseFromArray(bytes.data(), static_cast<int>(bytes.size())) ? absl::OkStatus()
                                                                                 : absl::InternalError("no task");
      },
      Clock::now() + kPatience);
  ASSERT_TRUE(called.ok()) << called;
  EXPECT_EQ(task.ttl().seconds(), 17 * 60);
  EXPECT_EQ(cluster.Stat(0, task.id(), "ttl_seconds"), 17 * 60);
}

TEST(PersistentCache, KeepsAnEmptyFile) {
  PersistentCluster cluster(2);
  const std::string original = cluster.Path("empty");
  std::ofstream(original).close();
  const std::string id = cluster.Import(0, original, "2");
  EXPECT_TRUE(cluster.AwaitReplicas(0, id, 2));
  cluster.ExpectExport(1, id, original);
}

TEST(PersistentCache, GivesPiecesToChildrenThatTakeThemByGrpc) {
  PersistentCluster cluster(2, "", "  protocol: grpc\n");
  const std::string original = cluster.Path("original");
  WriteRandomFile(original, 9 * kMiB);
  const std::string id = cluster.Import(0, original, "1");
  cluster.ExpectExport(1, id, original);
}

// Rounds of the kill test; DF_KILL_ROUNDS sets another number.
int KillRounds() {
  const char* text = std::getenv("DF_KILL_ROUNDS");
  return text != nullptr ? std::atoi(text) : 12;
}

// Whoever dies at whatever moment: an import that was acknowledged can be exported bit for bit, one that was not is
// there as a whole or not at all.
TEST(PersistentCache, NoImportIsEverHalfVisible) {
  PersistentCluster cluster(3);
  std::mt19937 random(std::random_device{}());
  int acknowledged = 0;
  for (int round = 0; round < KillRounds(); ++round) {
    SCOPED_TRACE(round);
    const std::string original = cluster.Path("original-" + std::to_string(round));
    WriteRandomFile(original, 33 * kMiB + 5, static_cast<uint64_t>(round));
    const std::string text = "round " + std::to_string(round);
    const std::string id = Sha256Hex(text);
    // The importer, the hosts that make replicas or export, or the scheduler.
    const int victim = static_cast<int>(random() % 4);
    const auto after = std::chrono::milliseconds(random() % 120);
    Process import = cluster.StartDfcache(0, {"import", original, "--content-for-calculating-task-id", text,
                                              "--persistent-replica-count", "2", "--timeout", "60s"});
    std::optional<int> code = import.Wait(after);
    Process exporting = cluster.StartDfcache(2, {"export", id, "-O", cluster.Path("never"), "--timeout", "20s"});
    if (victim == 3) {
      cluster.scheduler().process().Kill();
    } else {
      cluster.peer(static_cast<size_t>(victim)).process().Kill();
    }
    if (!code) code = import.Wait(90s);
    ASSERT_TRUE(code.has_value()) << "the import hangs: " << import.Log();
    exporting.Wait(60s);
    std::filesystem::remove(cluster.Path("never"));
    if (victim == 3) {
      cluster.scheduler().Restart();
    } else {
      cluster.peer(static_cast<size_t>(victim)).Restart();
    }
    if (*code == 0) {
      ++acknowledged;
      ASSERT_TRUE(Await([&] { return cluster.Stat(1, id, "current_replica_count") > 0; }, kPatience))
          << "acknowledged, and lost: " << cluster.scheduler().process().Log();
    }
    // Sooner or later it is there or it is not.
    PersistentCluster::Result stat{};
    ASSERT_TRUE(Await(
        [&] {
          stat = cluster.Dfcache(1, {"stat", id, "--json"});
          return stat.text.find("\"Succeeded\"") != std::string::npos ||
                 stat.text.find("not found") != std::string::npos;
        },
        kPatience))
        << stat.text << cluster.peer(0).process().Log();
    if (stat.exit_code != 0) {
      EXPECT_NE(*code, 0);
      continue;
    }
    PersistentCluster::Result exported{};
    const std::string output = cluster.Path("exported");
    ASSERT_TRUE(Await(
        [&] {
          exported = cluster.Dfcache(1, {"export", id, "-O", output});
          return exported.exit_code == 0;
        },
        kPatience))
        << exported.text;
    EXPECT_TRUE(SameContent(original, output));
    std::filesystem::remove(output);
    std::filesystem::remove(original);
    cluster.Dfcache(1, {"remove", id});
  }
  RecordProperty("acknowledged", acknowledged);
}

TEST(PersistentCache, TransfersTheContentAndChecksItsDigest) {
  PersistentCluster cluster(2);
  const std::string original = cluster.Path("original");
  WriteRandomFile(original, 9 * kMiB);
  const std::string id = cluster.Import(0, original, "1");
  const std::string output = cluster.Path("transferred");
  const auto moved = cluster.Dfcache(1, {"export", id, "-O", output, "--transfer-from-dfdaemon", "--json"});
  EXPECT_EQ(moved.exit_code, 0) << moved.text;
  EXPECT_TRUE(SameContent(original, output));
  const auto there = cluster.Dfcache(1, {"export", id, "-O", output});
  EXPECT_EQ(there.exit_code, 1);
  EXPECT_NE(there.text.find("is already exist"), std::string::npos) << there.text;
  const auto wrong = cluster.Dfcache(1, {"export", id, "-O", cluster.Path("wrong"), "--digest", "crc32:1"});
  EXPECT_EQ(wrong.exit_code, 1);
  EXPECT_NE(wrong.text.find("digest mismatch"), std::string::npos) << wrong.text;
  EXPECT_FALSE(std::filesystem::exists(cluster.Path("wrong")));
}

}  // namespace
}  // namespace dragonfly::e2e
