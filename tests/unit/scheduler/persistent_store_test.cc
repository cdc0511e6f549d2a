// SPDX-License-Identifier: Apache-2.0
// One suite for both stores; that of Redis talks to a real server.
#include "scheduler/persistent_store.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <memory>

#include "base/status.h"
#include "base/text.h"
#include "tests/support/redis_server.h"
#include "tests/support/temp_dir.h"

namespace dragonfly::scheduler {
namespace {

using ::testing::ElementsAre;
using ::testing::HasSubstr;
using ::testing::UnorderedElementsAre;

// An engine, and how a scheduler that was restarted comes back to it.
class Engine {
 public:
  virtual ~Engine() = default;
  virtual std::unique_ptr<PersistentStore> Open() = 0;
  virtual void Restart() {}
};

class RedisEngine final : public Engine {
 public:
  std::unique_ptr<PersistentStore> Open() override {
    redis::Options options;
    options.addresses = {server.address()};
    auto client = redis::Client::Make(options);
    EXPECT_TRUE(client.ok()) << client.status();
    return MakeRedisPersistentStore(*std::move(client), 7);
  }
  void Restart() override { server.Restart(); }

  dragonfly::testing::RedisServer server;
};

class EmbeddedEngine final : public Engine {
 public:
  std::unique_ptr<PersistentStore> Open() override {
    auto store = OpenEmbeddedPersistentStore((dir_.path() / "sub" / "cache.db").string());
    EXPECT_TRUE(store.ok()) << store.status();
    return *std::move(store);
  }

 private:
  const dragonfly::testing::TempDir dir_;
};

PersistentTask MakeTask(const std::string& id) {
  PersistentTask task;
  task.id = id;
  task.persistent_replica_count = 2;
  task.tag = "tag";
  task.application = "app";
  task.piece_length = 4 << 20;
  task.content_length = 10 << 20;
  task.piece_count = 3;
  task.state = PersistentTaskState::kUploading;
  task.ttl = absl::Hours(1);
  task.created_at = absl::FromUnixSeconds(absl::ToUnixSeconds(absl::Now()));
  task.updated_at = task.created_at;
  return task;
}

PersistentPeer MakePeer(const std::string& id, const PersistentTask& task, bool persistent) {
  PersistentPeer peer;
  peer.id = id;
  peer.persistent = persistent;
  peer.task_id = task.id;
  peer.host_id = StrCat("host-of-", id);
  peer.created_at = task.created_at;
  peer.updated_at = task.created_at;
  return peer;
}

class PersistentStoreTest : public ::testing::TestWithParam<bool> {
 protected:
  PersistentStoreTest() {
    if (GetParam()) {
      engine_ = std::make_unique<RedisEngine>();
    } else {
      engine_ = std::make_unique<EmbeddedEngine>();
    }
    store_ = engine_->Open();
  }

  std::vector<std::string> PeerIds(const std::string& task) {
    const auto peers = store_->PeersOf(task);
    EXPECT_TRUE(peers.ok()) << peers.status();
    std::vector<std::string> ids;
    for (const PersistentPeer& peer : *peers) ids.push_back(peer.id);
    return ids;
  }

  std::unique_ptr<Engine> engine_;
  std::unique_ptr<PersistentStore> store_;
};

TEST_P(PersistentStoreTest, KnowsNothingAtFirst) {
  const auto task = store_->LoadTask("a");
  EXPECT_TRUE(absl::IsNotFound(task.status()));
  EXPECT_EQ(MessageOf(task.status()), "persistent cache task a not found");
  EXPECT_EQ(MessageOf(store_->LoadPeer("p").status()), "persistent cache peer p not found");
  EXPECT_EQ(MessageOf(store_->LoadHost("h").status()), "host h not found");
  EXPECT_TRUE(PeerIds("a").empty());
  EXPECT_TRUE(store_->ListTasks()->empty());
}

TEST_P(PersistentStoreTest, KeepsATaskOverRestarts) {
  const PersistentTask task = MakeTask("a");
  ASSERT_TRUE(store_->Store(task).ok());
  ASSERT_TRUE(store_->Store(MakePeer("p", task, true), task).ok());
  store_.reset();
  engine_->Restart();
  store_ = engine_->Open();
  const auto loaded = store_->LoadTask("a");
  ASSERT_TRUE(loaded.ok()) << loaded.status();
  EXPECT_EQ(loaded->persistent_replica_count, 2u);
  EXPECT_EQ(loaded->tag, "tag");
  EXPECT_EQ(loaded->application, "app");
  EXPECT_EQ(loaded->piece_length, 4u << 20);
  EXPECT_EQ(loaded->content_length, 10u << 20);
  EXPECT_EQ(loaded->piece_count, 3u);
  EXPECT_EQ(loaded->state, PersistentTaskState::kUploading);
  EXPECT_EQ(loaded->ttl, absl::Hours(1));
  EXPECT_EQ(loaded->created_at, task.created_at);
  EXPECT_THAT(PeerIds("a"), ElementsAre("p"));
}

TEST_P(PersistentStoreTest, KeepsAllOfAPeer) {
  const PersistentTask task = MakeTask("a");
  PersistentPeer peer = MakePeer("p", task, false);
  peer.pieces.Set(2);
  peer.state = PersistentPeerState::kRunning;
  peer.block_parents = {"bad", "quo\"te"};
  peer.cost = absl::Milliseconds(1234);
  ASSERT_TRUE(store_->Store(peer, task).ok());
  const auto loaded = store_->LoadPeer("p");
  ASSERT_TRUE(loaded.ok()) << loaded.status();
  EXPECT_FALSE(loaded->persistent);
  EXPECT_TRUE(loaded->pieces.Has(2));
  EXPECT_EQ(loaded->pieces.count(), 1u);
  EXPECT_EQ(loaded->state, PersistentPeerState::kRunning);
  EXPECT_THAT(loaded->block_parents, ElementsAre("bad", "quo\"te"));
  EXPECT_EQ(loaded->cost, absl::Milliseconds(1234));
  EXPECT_EQ(loaded->host_id, "host-of-p");
  EXPECT_EQ(loaded->task_id, "a");
}

TEST_P(PersistentStoreTest, CountsReplicasAndPersistentOnes) {
  const PersistentTask task = MakeTask("a");
  ASSERT_TRUE(store_->Store(MakePeer("p", task, true), task).ok());
  ASSERT_TRUE(store_->Store(MakePeer("q", task, false), task).ok());
  ASSERT_TRUE(store_->Store(MakePeer("q", task, false), task).ok());
  EXPECT_EQ(store_->CountsOf("a")->persistent, 1u);
  EXPECT_EQ(store_->CountsOf("a")->all, 2u);
  ASSERT_TRUE(store_->Store(MakePeer("q", task, true), task).ok());
  EXPECT_EQ(store_->CountsOf("a")->persistent, 2u);
  ASSERT_TRUE(store_->Delete(MakePeer("p", task, true)).ok());
  EXPECT_EQ(store_->CountsOf("a")->persistent, 1u);
  EXPECT_THAT(PeerIds("a"), ElementsAre("q"));
  ASSERT_TRUE(store_->Delete(MakePeer("p", task, true)).ok()) << "a second time";
}

TEST_P(PersistentStoreTest, UpdatesOnlyWhatIsThere) {
  const PersistentTask task = MakeTask("a");
  PersistentPeer peer = MakePeer("p", task, true);
  EXPECT_TRUE(absl::IsNotFound(store_->Update(peer)));
  ASSERT_TRUE(store_->Store(peer, task).ok());
  peer.state = PersistentPeerState::kSucceeded;
  ASSERT_TRUE(store_->Update(peer).ok());
  EXPECT_EQ(store_->LoadPeer("p")->state, PersistentPeerState::kSucceeded);
  ASSERT_TRUE(store_->Delete(peer).ok());
  EXPECT_TRUE(absl::IsNotFound(store_->Update(peer)));
  EXPECT_TRUE(PeerIds("a").empty());
}

TEST_P(PersistentStoreTest, ForgetsATaskWhoseTimeIsOver) {
  PersistentTask task = MakeTask("a");
  ASSERT_TRUE(store_->Store(task).ok());
  ASSERT_TRUE(store_->Store(MakeTask("b")).ok());
  task.created_at -= absl::Hours(2);
  ASSERT_TRUE(store_->Store(MakePeer("p", task, true), task).ok());
  ASSERT_TRUE(store_->Store(task).ok());
  EXPECT_TRUE(absl::IsNotFound(store_->LoadTask("a").status()));
  EXPECT_TRUE(absl::IsNotFound(store_->LoadPeer("p").status()));
  EXPECT_TRUE(PeerIds("a").empty());
  const auto tasks = store_->ListTasks();
  ASSERT_TRUE(tasks.ok());
  ASSERT_EQ(tasks->size(), 1u);
  EXPECT_EQ(tasks->front().id, "b");
}

TEST_P(PersistentStoreTest, ListsTasksButNotTheirPeers) {
  for (int i = 0; i < 50; ++i) {
    const PersistentTask task = MakeTask(StrCat("task-", i));
    ASSERT_TRUE(store_->Store(task).ok());
    ASSERT_TRUE(store_->Store(MakePeer(StrCat("peer-", i), task, true), task).ok());
  }
  const auto tasks = store_->ListTasks();
  ASSERT_TRUE(tasks.ok()) << tasks.status();
  EXPECT_EQ(tasks->size(), 50u);
  ASSERT_TRUE(store_->DeleteTask("task-7").ok());
  EXPECT_EQ(store_->ListTasks()->size(), 49u);
}

TEST_P(PersistentStoreTest, KeepsHosts) {
  PersistentHost host;
  host.wire.set_id("h");
  host.wire.set_type(1);
  host.wire.set_ip("10.0.0.1");
  host.wire.set_port(4000);
  host.wire.set_download_port(4001);
  host.wire.set_disable_shared(true);
  host.wire.mutable_network()->set_idc("idc");
  host.wire.mutable_network()->set_location("a|b");
  host.wire.mutable_disk()->set_free(123456789012);
  host.wire.set_scheduler_cluster_id(3);
  host.announce_interval = absl::Seconds(30);
  host.created_at = host.updated_at = absl::FromUnixSeconds(1'700'000'000);
  ASSERT_TRUE(store_->Store(host).ok());
  const auto loaded = store_->LoadHost("h");
  ASSERT_TRUE(loaded.ok()) << loaded.status();
  EXPECT_EQ(loaded->wire.SerializeAsString().empty(), false);
  EXPECT_EQ(loaded->wire.type(), 1u);
  EXPECT_EQ(loaded->wire.ip(), "10.0.0.1");
  EXPECT_EQ(loaded->wire.download_port(), 4001);
  EXPECT_TRUE(loaded->wire.disable_shared());
  EXPECT_EQ(loaded->wire.network().idc(), "idc");
  EXPECT_EQ(loaded->wire.network().location(), "a|b");
  EXPECT_EQ(loaded->wire.disk().free(), 123456789012u);
  EXPECT_EQ(loaded->announce_interval, absl::Seconds(30));
  EXPECT_EQ(loaded->updated_at, host.updated_at);
  EXPECT_EQ(store_->ListHosts()->size(), 1u);
  ASSERT_TRUE(store_->DeleteHost("h").ok());
  EXPECT_TRUE(store_->ListHosts()->empty());
}

TEST_P(PersistentStoreTest, GivesATurnToOneOwnerAtATime) {
  EXPECT_TRUE(*store_->TakeTurn("healing", "me", absl::Minutes(1)));
  EXPECT_TRUE(*store_->TakeTurn("healing", "me", absl::Minutes(1)));
  if (GetParam()) EXPECT_FALSE(*store_->TakeTurn("healing", "other", absl::Minutes(1)));
}

INSTANTIATE_TEST_SUITE_P(Engines, PersistentStoreTest, ::testing::Bool(),
                         [](const auto& info) { return info.param ? "Redis" : "Embedded"; });

// What an original scheduler would read: keys, fields and bytes of dragonfly v2.3.0.
TEST(RedisPersistentStore, WritesWhatOriginalSchedulersRead) {
  RedisEngine engine;
  const auto store = engine.Open();
  PersistentTask task = MakeTask("2229733261");
  ASSERT_TRUE(store->Store(task).ok());
  PersistentPeer peer = MakePeer("p", task, true);
  peer.pieces = FinishedPieces::All(65);
  ASSERT_TRUE(store->Store(peer, task).ok());
  PersistentHost host;
  host.wire.set_id("h");
  ASSERT_TRUE(store->Store(host).ok());

  redis::Options options;
  options.addresses = {engine.server.address()};
  const auto client = *redis::Client::Make(options);
  const std::string prefix = "scheduler:scheduler-clusters:7:";
  const auto field = [&](const std::string& key, const std::string& name) {
    return client->Run({"HGET", prefix + key, name})->text;
  };
  const std::string key = "persistent-cache-tasks:2229733261";
  EXPECT_EQ(field(key, "ttl"), "3600000000000");
  EXPECT_EQ(field(key, "state"), "Uploading");
  EXPECT_EQ(field(key, "total_piece_count"), "3");
  EXPECT_EQ(field("persistent-cache-peers:p", "persistent"), "1");
  EXPECT_EQ(field("persistent-cache-peers:p", "block_parents"), "[]");
  EXPECT_EQ(field("persistent-cache-peers:p", "finished_pieces"),
            std::string("\0\0\0\0\0\0\0\x41\xff\xff\xff\xff\xff\xff\xff\xff\0\0\0\0\0\0\0\x01", 24));
  EXPECT_EQ(client->Run({"HLEN", prefix + "persistent-cache-hosts:h"})->integer, 58);
  for (const char* set : {":persistent-cache-peers", ":persistent-peers"}) {
    EXPECT_THAT(*client->Run({"SMEMBERS", prefix + key + set})->Texts(), ElementsAre("p"));
    EXPECT_GT(client->Run({"TTL", prefix + key + set})->integer, 3500);
  }
  EXPECT_THAT(*client->Run({"SMEMBERS", prefix + "persistent-cache-hosts:host-of-p:persistent-cache-peers"})->Texts(),
              ElementsAre("p"));
  EXPECT_GT(client->Run({"TTL", prefix + key})->integer, 3500);
  EXPECT_EQ(client->Run({"TTL", prefix + "persistent-cache-hosts:h"})->integer, -1);

  // A younger task of the same host must not shorten what the older one lives by.
  PersistentTask shorter = MakeTask("1");
  shorter.ttl = absl::Minutes(5);
  PersistentPeer second = MakePeer("q", shorter, false);
  second.host_id = "host-of-p";
  ASSERT_TRUE(store->Store(second, shorter).ok());
  EXPECT_GT(client->Run({"TTL", prefix + "persistent-cache-hosts:host-of-p:persistent-cache-peers"})->integer, 3500);
}

TEST(RedisPersistentStore, LeavesOutAPeerWhoseRecordIsGone) {
  RedisEngine engine;
  const auto store = engine.Open();
  const PersistentTask task = MakeTask("a");
  ASSERT_TRUE(store->Store(MakePeer("p", task, true), task).ok());
  ASSERT_TRUE(store->Store(MakePeer("q", task, true), task).ok());
  redis::Options options;
  options.addresses = {engine.server.address()};
  const auto client = *redis::Client::Make(options);
  ASSERT_TRUE(client->Run({"DEL", "scheduler:scheduler-clusters:7:persistent-cache-peers:p"}).ok());
  const auto peers = store->PeersOf("a");
  ASSERT_TRUE(peers.ok());
  ASSERT_EQ(peers->size(), 1u);
  EXPECT_EQ(store->CountsOf("a")->persistent, 1u);
  // And one that cannot be read is told as what it is.
  ASSERT_TRUE(client->Run({"HSET", "scheduler:scheduler-clusters:7:persistent-cache-peers:q", "cost", "x"}).ok());
  EXPECT_THAT(std::string(MessageOf(store->LoadPeer("q").status())), HasSubstr("cost \"x\""));
}

TEST(FinishedPieces, RefusesWhatNoTaskHas) {
  FinishedPieces pieces;
  EXPECT_FALSE(pieces.Set(UINT32_MAX));
  EXPECT_EQ(pieces.count(), 0u);
  EXPECT_FALSE(FinishedPieces::Decode("short").ok());
  EXPECT_FALSE(FinishedPieces::Decode(std::string("\x7f\xff\xff\xff\xff\xff\xff\xff", 8)).ok());
  const FinishedPieces all = FinishedPieces::All(70);
  const auto again = FinishedPieces::Decode(all.Encode());
  ASSERT_TRUE(again.ok());
  EXPECT_EQ(again->count(), 70u);
  EXPECT_TRUE(again->Has(69));
  EXPECT_FALSE(again->Has(70));
}

}  // namespace
}  // namespace dragonfly::scheduler
