// SPDX-License-Identifier: Apache-2.0
// A shard with hosts, seeds and peers that exist only in the test, on a clock that the test moves.
#pragma once

#include <chrono>
#include <map>
#include <memory>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "gmock/gmock.h"
#include "gtest/gtest.h"
#include "scheduler/shard.h"

namespace dragonfly::scheduler::testing {

using namespace std::chrono_literals;

// What a peer's stream was told.
class FakeStream : public PeerStream {
 public:
  enum class Kind { kEmpty, kParents, kBackToSource, kMetadataOnly };
  struct Answer {
    Kind kind;
    std::vector<std::string> parents;
    std::string description;
  };

  void SendEmpty() override { answers.push_back({Kind::kEmpty, {}, {}}); }
  void SendParents(const Peer&, std::span<Peer* const> parents) override {
    Answer answer{Kind::kParents, {}, {}};
    for (const Peer* parent : parents) answer.parents.push_back(parent->id());
    answers.push_back(std::move(answer));
  }
  void SendMoreParents(const Peer& child, std::span<Peer* const> parents) override {
    EXPECT_TRUE(child.takes_more_parents) << child.id() << " has not asked";
    for (const Peer* parent : parents) more.push_back(parent->id());
  }
  void SendBackToSource(std::string_view description) override {
    answers.push_back({Kind::kBackToSource, {}, std::string(description)});
  }
  void SendMetadataOnly() override { answers.push_back({Kind::kMetadataOnly, {}, {}}); }
  void Finish(absl::Status status) override { finished = std::move(status); }

  bool sent_to_source() const { return !answers.empty() && answers.back().kind == Kind::kBackToSource; }
  bool has_parents() const { return !answers.empty() && answers.back().kind == Kind::kParents; }
  std::vector<std::string> parents() const {
    return answers.empty() ? std::vector<std::string>() : answers.back().parents;
  }

  std::vector<Answer> answers;
  std::vector<std::string> more;  // parents without a question
  std::optional<absl::Status> finished;
};

class FakeSeeds : public SeedLauncher {
 public:
  void Launch(SeedRequest request) override { requests.push_back(std::move(request)); }
  std::vector<SeedRequest> requests;
};

inline std::shared_ptr<HostFacts> MakeFacts(std::string id, bool seed = false) {
  auto facts = std::make_shared<HostFacts>();
  facts->id = std::move(id);
  facts->hostname = facts->id;
  facts->ip = "10.0.0.1";
  facts->port = 4000;
  facts->type = seed ? 1 : 0;
  facts->upload_limit = seed ? 2000 : 200;
  facts->announce_interval = 300s;
  return facts;
}

class World {
 public:
  explicit World(ShardOptions options = ShardOptions(), std::string_view algorithm = "default")
      : evaluator(*MakeEvaluator(algorithm)), shard(options, hosts, *evaluator, seeds) {}

  HostFacts& AddHost(const std::string& id, bool seed = false) { return AnnounceHost(MakeFacts(id, seed)); }
  HostFacts& AnnounceHost(std::shared_ptr<HostFacts> facts) {
    hosts.Announce(facts, now);
    shard.UpdateHost(facts);
    return *facts;
  }

  // Every peer `p` runs on host `host-p` unless said otherwise.
  struct Peer {
    Peer(std::string id) : id(std::move(id)), host("host-" + this->id) {}
    std::string id;
    std::string host;
    std::string task = "task";
    std::shared_ptr<FakeStream> stream = std::make_shared<FakeStream>();
    PeerAddress address() const { return {host, task, id}; }
  };

  static Registration Download(std::optional<uint64_t> length = 40 << 20) {
    Registration registration;
    registration.about.url = "http://origin/file";
    registration.content_length = length;
    if (length.has_value()) registration.piece_length = 4 << 20;
    return registration;
  }

  absl::Status Register(Peer& peer, Registration registration = Download(), bool seed_host = false) {
    if (hosts.Find(peer.host) == nullptr) AddHost(peer.host, seed_host);
    registration.stream = peer.stream;
    return shard.Register(peer.address(), std::move(registration), now);
  }
  // A peer that has been sent to the origin, or was given parents, and tells that it has begun.
  void Begin(const Peer& peer) {
    if (peer.stream->sent_to_source()) {
      EXPECT_TRUE(shard.BackToSourceStarted(peer.address(), now).ok());
    } else {
      EXPECT_TRUE(shard.Started(peer.address(), now).ok());
    }
  }
  void Reschedule(const Peer& peer) { EXPECT_TRUE(shard.Reschedule(peer.address(), peer.stream->parents(), now).ok()); }
  void PieceFromSource(const Peer& peer, uint32_t number) {
    PieceReport piece;
    piece.number = PieceNumber(number);
    piece.offset = uint64_t{number} << 22;
    piece.length = 4 << 20;
    piece.cost = 10ms;
    EXPECT_TRUE(shard.PieceFinished(peer.address(), Origin::kSource, piece, now).ok());
  }
  void PieceFromParent(const Peer& peer, const Peer& parent, uint32_t number, Clock::duration cost = 10ms) {
    PieceReport piece;
    piece.number = PieceNumber(number);
    piece.offset = uint64_t{number} << 22;
    piece.length = 4 << 20;
    piece.parent_id = parent.id;
    piece.cost = cost;
    EXPECT_TRUE(shard.PieceFinished(peer.address(), Origin::kPeers, piece, now).ok());
  }
  void Finish(const Peer& peer, Origin origin) {
    EXPECT_TRUE(shard.Finished(peer.address(), origin, 40 << 20, 10, now).ok());
  }
  // A complete peer that others can download from.
  Peer Complete(const std::string& id, bool seed_host = false) {
    Peer peer(id);
    Registration registration = Download();
    registration.need_back_to_source = true;
    EXPECT_TRUE(Register(peer, std::move(registration), seed_host).ok());
    Begin(peer);
    for (uint32_t i = 0; i < 10; ++i) PieceFromSource(peer, i);
    Finish(peer, Origin::kSource);
    return peer;
  }

  // Lets time pass, with every deadline on its moment.
  void Pass(Clock::duration duration) {
    const TimePoint end = now + duration;
    while (shard.NextDeadline() <= end) {
      now = std::max(now, shard.NextDeadline());
      shard.Tick(now);
    }
    now = end;
    shard.Tick(now);
  }

  const scheduler::Peer& Get(const Peer& peer) const { return *shard.FindPeer(peer.task, peer.id); }
  PeerState StateOf(const Peer& peer) const { return Get(peer).state(); }

  HostTable hosts;
  std::unique_ptr<Evaluator> evaluator;
  FakeSeeds seeds;
  TimePoint now = TimePoint{} + 1h;
  Shard shard;
};

}  // namespace dragonfly::scheduler::testing
