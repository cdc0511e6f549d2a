// SPDX-License-Identifier: Apache-2.0
// What passes between the peers of a simulated swarm and the scheduler, and when each event is whose turn.
#include <algorithm>
#include <cstdio>
#include <cstdlib>
#include <span>
#include <string>
#include <utility>

#include "swarm_state.h"

namespace dragonfly::swarm {

using scheduler::Origin;

namespace {

class Stream final : public scheduler::PeerStream {
 public:
  Stream(Swarm& swarm, uint32_t peer) : swarm_(swarm), peer_(peer) {}
  void SendEmpty() override { std::abort(); }
  void SendParents(const scheduler::Peer&, std::span<scheduler::Peer* const> parents) override {
    swarm_.Answer(peer_, {IndexesOf(parents), false});
  }
  void SendMoreParents(const scheduler::Peer&, std::span<scheduler::Peer* const> parents) override {
    swarm_.Answer(peer_, {IndexesOf(parents), true});
  }
  void SendBackToSource(std::string_view) override { swarm_.Answer(peer_, Given()); }
  void SendMetadataOnly() override {}
  void Finish(absl::Status status) override {
    if (!status.ok()) swarm_.Answer(peer_, Given());
  }

 private:
  static std::vector<uint32_t> IndexesOf(std::span<scheduler::Peer* const> parents) {
    std::vector<uint32_t> indexes;
    for (const scheduler::Peer* parent : parents) {
      indexes.push_back(static_cast<uint32_t>(std::strtoul(parent->id().c_str() + 1, nullptr, 10)));
    }
    return indexes;
  }

  Swarm& swarm_;
  const uint32_t peer_;
};

}  // namespace

std::shared_ptr<scheduler::PeerStream> MakeStream(Swarm& swarm, uint32_t peer) {
  return std::make_shared<Stream>(swarm, peer);
}

scheduler::Registration Swarm::About(uint32_t peer) const {
  scheduler::Registration registration;
  registration.about.url = "http://origin/file";
  registration.content_length = layout_.content_length();
  registration.piece_length = layout_.piece_length();
  registration.stream = peers_[peer].stream;
  registration.takes_more_parents = options_.rules == Rules::kWide;
  return registration;
}

void Swarm::MakeSeeds() {
  for (uint32_t host = 1; host < hosts_.size(); ++host) {
    for (uint32_t file = 0; file < tasks_.size(); ++file) {
      const uint32_t index = AddPeer(host, file);
      SimPeer& peer = peers_[index];
      for (uint32_t i = 0; i < layout_.piece_count(); ++i) peer.has.Insert(PieceNumber(i));
      peer.phase = Phase::kComplete;
      scheduler::Registration registration = About(index);
      registration.need_back_to_source = true;
      const auto check = [](const absl::Status& status) {
        if (!status.ok()) std::fprintf(stderr, "seed: %s\n", std::string(status.message()).c_str());
      };
      check(shard_->Register(AddressOf(peer), std::move(registration), Now()));
      check(shard_->BackToSourceStarted(AddressOf(peer), Now()));
      check(shard_->Finished(AddressOf(peer), Origin::kSource, layout_.content_length(), layout_.piece_count(), Now()));
      peer.inbox.clear();
    }
  }
  events_.ClearMessages();
}

void Swarm::Answer(uint32_t peer, Given given) {
  peers_[peer].inbox.push_back(std::move(given));
  After(scenario_.latency, Kind::kAnswer, peer);
}

void Swarm::Handle(const Event& event) {
  switch (event.kind) {
    case Kind::kArrive:
      Arrive(event.a);
      break;
    case Kind::kRegister:
      scheduler_free_at_ = std::max(scheduler_free_at_, now_) + scenario_.registration_seconds;
      At(scheduler_free_at_, Kind::kRegistered, event.a);
      break;
    case Kind::kRegistered: {
      if (peers_[event.a].phase == Phase::kDead) break;
      const absl::Status status = shard_->Register(AddressOf(peers_[event.a]), About(event.a), Now());
      if (!status.ok()) std::fprintf(stderr, "register: %s\n", std::string(status.message()).c_str());
      break;
    }
    case Kind::kStarted:
      shard_->Started(AddressOf(peers_[event.a]), Now()).IgnoreError();
      break;
    case Kind::kSourceBegun:
      shard_->BackToSourceStarted(AddressOf(peers_[event.a]), Now()).IgnoreError();
      break;
    case Kind::kPiece: {
      scheduler::PieceReport piece;
      piece.number = PieceNumber(event.c);
      const ByteRange range = layout_.RangeOf(piece.number);
      piece.offset = range.offset;
      piece.length = range.length;
      piece.parent_id = peers_[event.b].id;
      piece.cost = std::chrono::milliseconds(50);
      shard_->PieceFinished(AddressOf(peers_[event.a]), Origin::kPeers, piece, Now()).IgnoreError();
      break;
    }
    case Kind::kPieceFailed:
      shard_->PieceFailed(AddressOf(peers_[event.a]), peers_[event.b].id, true, Now()).IgnoreError();
      break;
    case Kind::kReschedule: {
      std::vector<std::string> tried;
      for (const uint32_t parent : peers_[event.a].parents) tried.push_back(peers_[parent].id);
      shard_->Reschedule(AddressOf(peers_[event.a]), tried, Now()).IgnoreError();
      break;
    }
    case Kind::kFinished:
      shard_
          ->Finished(AddressOf(peers_[event.a]), Origin::kPeers, layout_.content_length(), layout_.piece_count(), Now())
          .IgnoreError();
      break;
    case Kind::kStreamEnded:
      shard_->StreamEnded(AddressOf(peers_[event.a]), peers_[event.a].stream.get(), Now());
      break;
    case Kind::kAnswer:
      TakeAnswer(event.a);
      break;
    case Kind::kSubscribe:
    case Kind::kTold:
    case Kind::kNews:
    case Kind::kGiven:
    case Kind::kParentLost:
    case Kind::kBegin:
      // What was meant for a batch that is over is dropped.
      if (peers_[event.a].generation == event.more && peers_[event.a].phase == Phase::kDownloading) BetweenPeers(event);
      break;
    case Kind::kLook:
      if (peers_[event.a].look_at <= event.at) peers_[event.a].look_at = Network::kNever;
      Pump(event.a);
      break;
    case Kind::kDie:
      Die();
      break;
  }
}

}  // namespace dragonfly::swarm
