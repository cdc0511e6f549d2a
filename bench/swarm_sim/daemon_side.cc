// SPDX-License-Identifier: Apache-2.0
// What the daemons of a simulated swarm do, as src/daemon/parent_batch.cc and task_download_fetch.cc do it.
#include <algorithm>
#include <optional>
#include <utility>
#include <vector>

#include "swarm_state.h"

namespace dragonfly::swarm {
namespace {

constexpr int kSchedulesMax = 5;  // as the daemon's scheduler.maxScheduleCount
// Word of given pieces is gathered for as long (src/daemon/upload_service.cc).
constexpr double kGivenSeconds = 0.01;

}  // namespace

void Swarm::Arrive(uint32_t host) {
  --arriving_;
  for (uint32_t file = 0; file < tasks_.size(); ++file) {
    const uint32_t peer = AddPeer(host, file);
    ++running_;
    After(scenario_.latency, Kind::kRegister, peer);
  }
}

void Swarm::NewBatch(SimPeer& peer) {
  daemon::DispatcherOptions options;
  options.seed = random_();
  peer.batch = std::make_unique<daemon::PieceDispatcher>(layout_, options);
  if (scenario_.readers) peer.batch->SetReaders({{PieceNumber(0), PieceNumber(layout_.piece_count() - 1)}});
  ++peer.generation;
  peer.parents.clear();
  for (uint32_t i = 0; i < layout_.piece_count(); ++i) {
    if (!peer.has.Contains(PieceNumber(i))) peer.batch->Want(PieceNumber(i));
  }
}

void Swarm::AddParents(uint32_t index, const Given& given) {
  SimPeer& peer = peers_[index];
  for (const uint32_t parent : given.parents) {
    const auto known = std::find(peer.parents.begin(), peer.parents.end(), parent);
    if (known != peer.parents.end() && peer.batch->live(static_cast<size_t>(known - peer.parents.begin()))) continue;
    const auto at = static_cast<uint32_t>(given.more ? peer.batch->AddHelper() : peer.batch->AddParent());
    peer.parents.push_back(parent);
    After(Latency(peer.host, peers_[parent].host), Kind::kSubscribe, index, at, 0, peer.generation);
  }
}

void Swarm::TakeAnswer(uint32_t index) {
  SimPeer& peer = peers_[index];
  const Given given = std::move(peer.inbox.front());
  peer.inbox.pop_front();
  if (peer.phase != Phase::kAsking && peer.phase != Phase::kDownloading) return;
  if (given.more && peer.phase != Phase::kDownloading) return;
  if (given.parents.empty()) {
    if (peer.phase == Phase::kAsking) GoToSource(index);
    return;
  }
  if (peer.phase == Phase::kAsking) {
    peer.phase = Phase::kDownloading;
    ++peer.schedules;
    NewBatch(peer);
    After(scenario_.latency, Kind::kStarted, index);
  }
  AddParents(index, given);
}

void Swarm::GoToSource(uint32_t index) {
  SimPeer& peer = peers_[index];
  peer.phase = Phase::kSource;
  ++outcome_.from_source;
  After(scenario_.latency, Kind::kSourceBegun, index);
  const uint32_t missing = layout_.piece_count() - peer.has.size();
  const Network::Flow flow =
      network_.Start(hosts_[kOriginHost].up, hosts_[peer.host].down, Network::kNone, Network::kNone,
                     static_cast<double>(missing * layout_.piece_length()), uint64_t{index} << 32 | kWholeRest, now_);
  peer.transfers.push_back({kWholeRest, 0, flow});
}

// Messages between a child and one of its parents.
void Swarm::BetweenPeers(const Event& event) {
  switch (event.kind) {
    case Kind::kSubscribe: {
      const uint32_t parent_index = peers_[event.a].parents[event.b];
      SimPeer& parent = peers_[parent_index];
      const double back = Latency(parent.host, peers_[event.a].host);
      if (parent.phase == Phase::kDead) {
        After(back, Kind::kParentLost, event.a, event.b, 0, event.more);
        break;
      }
      (parent.phase == Phase::kComplete ? parent.followers : parent.subscribers)
          .push_back({event.a, event.b, event.more});
      After(back, Kind::kTold, event.a, event.b, 0, event.more);
      break;
    }
    case Kind::kTold: {
      SimPeer& child = peers_[event.a];
      const SimPeer& parent = peers_[child.parents[event.b]];
      if (parent.phase == Phase::kDead) break;
      for (auto piece = parent.has.NextFrom(PieceNumber(0)); piece; piece = parent.has.NextFrom(piece->next())) {
        child.batch->Announce(event.b, *piece);
        if (Follow() && parent.given.Contains(*piece)) child.batch->NoteGiven(event.b, *piece, Now());
      }
      if (parent.phase == Phase::kComplete) child.batch->SetNewsOpen(event.b, false);
      Pump(event.a);
      break;
    }
    case Kind::kNews:
      peers_[event.a].batch->Announce(event.b, PieceNumber(event.c));
      Pump(event.a);
      break;
    case Kind::kGiven:
      peers_[event.a].batch->NoteGiven(event.b, PieceNumber(event.c), Now());
      break;
    case Kind::kParentLost:
      DropParent(event.a, event.b);
      break;
    case Kind::kBegin:
      Begin(event);
      break;
    default:
      break;
  }
}

void Swarm::Begin(const Event& event) {
  SimPeer& child = peers_[event.a];
  SimPeer& parent = peers_[child.parents[event.b]];
  if (parent.phase == Phase::kDead) return;
  if (Follow() && parent.phase == Phase::kComplete) TellGiven(parent, event.c);
  const Host& from = hosts_[parent.host];
  const Host& to = hosts_[child.host];
  for (Transfer& transfer : child.transfers) {
    if (transfer.piece != event.c || transfer.parent != event.b || transfer.flow != Network::kNoFlow) continue;
    const bool far = from.site != to.site;
    transfer.flow = network_.Start(
        from.up, to.down, far ? wan_[from.site].first : Network::kNone, far ? wan_[to.site].second : Network::kNone,
        static_cast<double>(layout_.RangeOf(PieceNumber(event.c)).length), uint64_t{event.a} << 32 | event.c, now_);
    return;
  }
}

void Swarm::TellGiven(SimPeer& parent, uint32_t piece) {
  if (parent.given.piece_count() == 0) parent.given = daemon::PieceSet(layout_.piece_count());
  if (!parent.given.Insert(PieceNumber(piece))) return;
  std::erase_if(parent.followers, [&](const Subscriber& follower) {
    const SimPeer& child = peers_[follower.child];
    return child.generation != follower.generation || child.phase != Phase::kDownloading;
  });
  for (const Subscriber& follower : parent.followers) {
    After(Latency(parent.host, peers_[follower.child].host) + kGivenSeconds, Kind::kGiven, follower.child,
          follower.index, piece, follower.generation);
  }
}

void Swarm::StopTransfer(SimPeer& peer, size_t at) {
  const Transfer transfer = peer.transfers[at];
  peer.transfers[at] = peer.transfers.back();
  peer.transfers.pop_back();
  if (transfer.flow == Network::kNoFlow) return;
  const double length =
      transfer.piece == kWholeRest ? 0 : static_cast<double>(layout_.RangeOf(PieceNumber(transfer.piece)).length);
  const double left = network_.Stop(transfer.flow, now_);
  wasted_ += std::max(0.0, length - left);
}

void Swarm::Pump(uint32_t index) {
  SimPeer& peer = peers_[index];
  if (peer.phase != Phase::kDownloading) return;
  while (const auto assignment = peer.batch->Next(Now())) {
    if (assignment->instead_of) {
      for (size_t i = 0; i < peer.transfers.size(); ++i) {
        if (peer.transfers[i].piece != assignment->piece.value()) continue;
        StopTransfer(peer, i);
        break;
      }
      After(scenario_.latency, Kind::kPieceFailed, index, peer.parents[*assignment->instead_of]);
    }
    peer.transfers.push_back({assignment->piece.value(), static_cast<uint32_t>(assignment->parent), Network::kNoFlow});
    const uint32_t parent = peer.parents[assignment->parent];
    After(2 * Latency(peer.host, peers_[parent].host), Kind::kBegin, index, static_cast<uint32_t>(assignment->parent),
          assignment->piece.value(), peer.generation);
  }
  if (peer.batch->satisfied()) {
    Complete(index);
  } else if (peer.batch->hopeless()) {
    peer.phase = Phase::kAsking;
    if (peer.schedules >= kSchedulesMax) {
      GoToSource(index);
      return;
    }
    ++outcome_.reschedules;
    After(scenario_.latency, Kind::kReschedule, index);
  } else if (const double look = ToSeconds(peer.batch->NextLook()); look < peer.look_at) {
    peer.look_at = look;
    At(std::max(look, now_), Kind::kLook, index);
  }
}

void Swarm::TransferEnded(uint32_t index, uint32_t number) {
  SimPeer& peer = peers_[index];
  const auto transfer =
      std::find_if(peer.transfers.begin(), peer.transfers.end(), [&](const Transfer& t) { return t.piece == number; });
  const uint32_t parent_index = transfer->parent;
  *transfer = peer.transfers.back();
  peer.transfers.pop_back();
  if (number == kWholeRest) {
    Complete(index);
    return;
  }
  const PieceNumber piece(number);
  peer.has.Insert(piece);
  if (number == 0) peer.first_piece = now_;
  After(scenario_.latency, Kind::kPiece, index, peer.parents[parent_index], number);
  for (size_t i = 0; i < peer.subscribers.size();) {
    const Subscriber& subscriber = peer.subscribers[i];
    const SimPeer& child = peers_[subscriber.child];
    if (child.generation != subscriber.generation || child.phase != Phase::kDownloading) {
      peer.subscribers[i] = peer.subscribers.back();
      peer.subscribers.pop_back();
      continue;
    }
    After(Latency(peer.host, child.host), Kind::kNews, subscriber.child, subscriber.index, number,
          subscriber.generation);
    ++i;
  }
  peer.batch->Finished(parent_index, piece, Now());
  Pump(index);
}

void Swarm::Complete(uint32_t index) {
  SimPeer& peer = peers_[index];
  peer.phase = Phase::kComplete;
  peer.done = now_;
  for (uint32_t i = 0; i < layout_.piece_count(); ++i) peer.has.Insert(PieceNumber(i));
  --running_;
  After(scenario_.latency, Kind::kFinished, index);
  for (const Subscriber& subscriber : peer.subscribers) {
    After(Latency(peer.host, peers_[subscriber.child].host), Kind::kTold, subscriber.child, subscriber.index, 0,
          subscriber.generation);
  }
  peer.followers = std::exchange(peer.subscribers, {});
  peer.batch.reset();
}

void Swarm::DropParent(uint32_t index, uint32_t parent) {
  SimPeer& peer = peers_[index];
  if (!peer.batch->live(parent)) return;
  peer.batch->Drop(parent);
  for (size_t i = 0; i < peer.transfers.size();) {
    if (peer.transfers[i].parent != parent) {
      ++i;
      continue;
    }
    StopTransfer(peer, i);
    After(scenario_.latency, Kind::kPieceFailed, index, peer.parents[parent]);
  }
  Pump(index);
}

// A host stops to answer, and a new one comes in its place.
void Swarm::Die() {
  At(now_ + 60 / (scenario_.churn_per_minute * static_cast<double>(scenario_.peers)), Kind::kDie, 0);
  std::vector<uint32_t> alive;
  for (uint32_t i = 1; i < hosts_.size(); ++i) {
    if (!hosts_[i].seed && !hosts_[i].dead && !hosts_[i].peers.empty()) alive.push_back(i);
  }
  if (alive.empty() || running_ == 0 || now_ > scenario_.FluidBound()) return;
  Host& host = hosts_[alive[random_() % alive.size()]];
  host.dead = true;
  for (const uint32_t index : host.peers) {
    SimPeer& peer = peers_[index];
    if (peer.phase != Phase::kComplete) {
      --running_;
      while (!peer.transfers.empty()) StopTransfer(peer, 0);
      After(scenario_.latency, Kind::kStreamEnded, index);
    }
    peer.phase = Phase::kDead;
  }
  // Its children's connections break.
  for (uint32_t child = 0; child < peers_.size(); ++child) {
    if (peers_[child].phase != Phase::kDownloading) continue;
    for (uint32_t i = 0; i < peers_[child].parents.size(); ++i) {
      if (peers_[peers_[child].parents[i]].phase == Phase::kDead && peers_[child].batch->live(i)) {
        After(scenario_.latency, Kind::kParentLost, child, i, 0, peers_[child].generation);
      }
    }
  }
  const double rate = host.rate;
  At(now_, Kind::kArrive, AddHost(false, rate));
  ++arriving_;
}

}  // namespace dragonfly::swarm
