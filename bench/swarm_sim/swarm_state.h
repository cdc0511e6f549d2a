// SPDX-License-Identifier: Apache-2.0
// The inside of a simulated swarm (swarm.h). Its parts: hosts, peers and the run (swarm.cc); what passes between peers
// and the scheduler (scheduler_side.cc); what the daemon of a peer does (daemon_side.cc).
#pragma once

#include <chrono>
#include <cmath>
#include <cstdint>
#include <deque>
#include <memory>
#include <random>
#include <string>
#include <utility>
#include <vector>

#include "daemon/piece_dispatcher.h"
#include "event_queue.h"
#include "network.h"
#include "scheduler/evaluator.h"
#include "scheduler/shard.h"
#include "swarm.h"

namespace dragonfly::swarm {

constexpr uint32_t kWholeRest = UINT32_MAX;  // in the place of a piece: everything that is missing, from the origin
constexpr uint32_t kOriginHost = 0;

inline TimePoint ToTime(double seconds) {
  return TimePoint{} + std::chrono::hours(1) + std::chrono::nanoseconds(static_cast<int64_t>(std::ceil(seconds * 1e9)));
}
inline double ToSeconds(TimePoint when) {
  if (when == kNoDeadline) return Network::kNever;
  return std::chrono::duration<double>(when - TimePoint{} - std::chrono::hours(1)).count();
}

struct Host {
  Network::Link up = 0, down = 0;
  uint32_t site = 0;
  double rate = 0;
  bool seed = false;
  bool dead = false;
  std::string id;
  std::vector<uint32_t> peers;
};

struct Transfer {
  uint32_t piece;
  uint32_t parent;  // index in the batch
  Network::Flow flow;
};

struct Subscriber {
  uint32_t child;
  uint32_t index;
  uint16_t generation;
};

struct Given {
  Given() = default;
  Given(std::vector<uint32_t> parents_given, bool unasked) : parents(std::move(parents_given)), more(unasked) {}
  std::vector<uint32_t> parents;  // empty: to the origin
  bool more = false;              // not asked for
};

enum class Phase : uint8_t { kAsking, kDownloading, kSource, kComplete, kDead };

struct SimPeer {
  uint32_t host = 0;
  uint32_t file = 0;
  std::string id;
  Phase phase = Phase::kAsking;
  daemon::PieceSet has;
  std::unique_ptr<daemon::PieceDispatcher> batch;
  uint16_t generation = 0;
  int schedules = 0;
  std::vector<uint32_t> parents;  // of the batch
  std::vector<Transfer> transfers;
  std::vector<Subscriber> subscribers;  // that do not know yet all that it has
  std::vector<Subscriber> followers;    // that are told what it gives; of a complete peer
  daemon::PieceSet given;               // since it is complete
  std::deque<Given> inbox;              // answers under way
  std::shared_ptr<scheduler::PeerStream> stream;
  double arrived = 0;
  double done = 0;
  double first_piece = Network::kNever;  // when the first piece of the file had come
  double look_at = Network::kNever;
};

class Swarm;
// The way back to `peer`.
std::shared_ptr<scheduler::PeerStream> MakeStream(Swarm& swarm, uint32_t peer);

class Swarm : public scheduler::SeedLauncher {
 public:
  Swarm(const Scenario& scenario, const SwarmOptions& options);
  ~Swarm() override;
  Outcome Run();

  // From the scheduler.
  void Launch(scheduler::SeedRequest) override { std::abort(); }  // the seeds have everything
  void Answer(uint32_t peer, Given given);

 private:
  // swarm.cc
  uint32_t AddHost(bool seed, double rate);
  uint32_t AddPeer(uint32_t host, uint32_t file);
  void At(double when, Kind kind, uint32_t a, uint32_t b = 0, uint32_t c = 0, uint16_t more = 0);
  void After(double delay, Kind kind, uint32_t a, uint32_t b = 0, uint32_t c = 0, uint16_t more = 0);
  double Latency(uint32_t host_a, uint32_t host_b) const;
  void Trace();
  Outcome Summary();

  // scheduler_side.cc
  void MakeSeeds();
  void Handle(const Event& event);
  scheduler::Registration About(uint32_t peer) const;
  scheduler::PeerAddress AddressOf(const SimPeer& peer) const {
    return {hosts_[peer.host].id, tasks_[peer.file], peer.id};
  }
  TimePoint Now() const { return ToTime(now_); }

  // daemon_side.cc
  void Arrive(uint32_t host);
  void BetweenPeers(const Event& event);
  void TakeAnswer(uint32_t peer);
  void NewBatch(SimPeer& peer);
  void AddParents(uint32_t peer, const Given& given);
  void Pump(uint32_t peer);
  void TransferEnded(uint32_t peer, uint32_t piece);
  void Complete(uint32_t peer);
  void GoToSource(uint32_t peer);
  void DropParent(uint32_t peer, uint32_t index);
  void StopTransfer(SimPeer& peer, size_t at);
  void Begin(const Event& event);
  bool Follow() const { return options_.rules == Rules::kWide; }
  void TellGiven(SimPeer& parent, uint32_t piece);
  void Die();

  const Scenario scenario_;
  const SwarmOptions options_;
  std::mt19937_64 random_;
  PieceLayout layout_;
  scheduler::HostTable table_;
  std::unique_ptr<scheduler::Evaluator> evaluator_;
  std::unique_ptr<scheduler::Shard> shard_;
  Network network_;
  std::vector<Host> hosts_;
  std::vector<std::pair<Network::Link, Network::Link>> wan_;  // out of and into each site
  std::vector<SimPeer> peers_;
  std::vector<std::string> tasks_;
  EventQueue events_;
  double now_ = 0;
  double scheduler_free_at_ = 0;
  size_t running_ = 0;   // peers that are not complete
  size_t arriving_ = 0;  // hosts that have not come yet
  double wasted_ = 0;
  Outcome outcome_;
};

}  // namespace dragonfly::swarm
