// SPDX-License-Identifier: Apache-2.0
#include "swarm.h"

#include <algorithm>
#include <chrono>
#include <cmath>
#include <cstdio>
#include <cstdlib>
#include <ctime>
#include <deque>
#include <memory>
#include <queue>
#include <random>
#include <string>
#include <utility>

#include "daemon/piece_dispatcher.h"
#include "network.h"
#include "reference.h"
#include "scheduler/evaluator.h"
#include "scheduler/shard.h"

namespace dragonfly::swarm {
namespace {

using daemon::PieceDispatcher;
using scheduler::Origin;

constexpr uint32_t kWholeRest = UINT32_MAX;  // in the place of a piece: everything that is missing, from the origin
constexpr uint32_t kOriginHost = 0;
constexpr int kSchedulesMax = 5;  // as the daemon's scheduler.maxScheduleCount

TimePoint ToTime(double seconds) {
  return TimePoint{} + std::chrono::hours(1) + std::chrono::nanoseconds(static_cast<int64_t>(std::ceil(seconds * 1e9)));
}
double ToSeconds(TimePoint when) {
  if (when == kNoDeadline) return Network::kNever;
  return std::chrono::duration<double>(when - TimePoint{} - std::chrono::hours(1)).count();
}

enum class Kind : uint8_t {
  kArrive,       // host
  kRegister,     // peer, at the scheduler
  kRegistered,   // peer, when the scheduler comes to it
  kStarted,      // peer, at the scheduler
  kPiece,        // peer, parent, piece: at the scheduler
  kPieceFailed,  // peer, parent
  kReschedule,   // peer
  kFinished,     // peer
  kSourceBegun,  // peer
  kStreamEnded,  // peer
  kAnswer,       // peer
  kSubscribe,    // child, index of its parent, generation: at the parent
  kTold,         // child, index, generation: all that the parent has
  kNews,         // child, index, piece (generation in `more`)
  kNewsEnded,    // child, index, generation
  kParentLost,   // child, index, generation
  kBegin,        // child, index, piece (generation in `more`)
  kLook,         // peer
  kDie,          // -
};

struct Event {
  double at;
  Kind kind;
  uint16_t more;
  uint32_t a, b, c;
  bool operator>(const Event& other) const { return at > other.at; }
};

struct Host {
  Network::Link up = 0, down = 0;
  uint32_t site = 0;
  double rate = 0;
  bool seed = false;
  bool dead = false;
  std::string id;
  std::vector<uint32_t> peers;
  // Uploads: those under way, and those that wait for one of them to end.
  size_t serving = 0;
  std::deque<Event> queue;
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

class Stream;

struct SimPeer {
  uint32_t host = 0;
  uint32_t file = 0;
  std::string id;
  Phase phase = Phase::kAsking;
  daemon::PieceSet has;
  std::unique_ptr<PieceDispatcher> batch;
  uint16_t generation = 0;
  int schedules = 0;
  std::vector<uint32_t> parents;  // of the batch
  std::vector<Transfer> transfers;
  std::vector<Subscriber> subscribers;
  std::deque<Given> inbox;  // answers under way
  std::shared_ptr<Stream> stream;
  double arrived = 0;
  double done = 0;
  double look_at = Network::kNever;
};

class Swarm : public scheduler::SeedLauncher {
 public:
  Swarm(const Scenario& scenario, const SwarmOptions& options);
  ~Swarm() override;
  Outcome Run();

  // From the scheduler.
  void Launch(scheduler::SeedRequest) override { std::abort(); }  // the seeds have everything
  void Answer(uint32_t peer, Given given);

 private:
  uint32_t AddHost(bool seed, double rate);
  uint32_t AddPeer(uint32_t host, uint32_t file);
  void MakeSeeds();
  void At(double when, Kind kind, uint32_t a, uint32_t b = 0, uint32_t c = 0, uint16_t more = 0);
  void After(double delay, Kind kind, uint32_t a, uint32_t b = 0, uint32_t c = 0, uint16_t more = 0);
  double Latency(uint32_t host_a, uint32_t host_b) const;
  void Handle(const Event& event);
  void Arrive(uint32_t host);
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
  void Served(Host& host);
  void Die();
  scheduler::PeerAddress AddressOf(const SimPeer& peer) const {
    return {hosts_[peer.host].id, tasks_[peer.file], peer.id};
  }
  scheduler::Registration About(uint32_t peer) const;
  TimePoint Now() const { return ToTime(now_); }

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
  // Events at a fixed delay come in order by themselves.
  std::vector<std::pair<double, std::deque<Event>>> lines_;
  std::priority_queue<Event, std::vector<Event>, std::greater<>> heap_;
  double now_ = 0;
  double scheduler_free_at_ = 0;
  size_t running_ = 0;   // peers that are not complete
  size_t arriving_ = 0;  // hosts that have not come yet
  double wasted_ = 0;
  Outcome outcome_;
};

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

std::unique_ptr<scheduler::Evaluator> EvaluatorOf(Rules rules) {
  if (rules == Rules::kReference) return std::make_unique<ReferenceEvaluator>();
  return *scheduler::MakeEvaluator(rules == Rules::kDefault ? "default" : "load");
}

scheduler::ShardOptions OptionsOf(Rules rules) {
  scheduler::ShardOptions options;
  if (rules == Rules::kReference) {
    options.cost_source = scheduler::CostSource::kItself;
    options.dispatch.limits.refused_count = true;
    options.dispatch.widening.enabled = false;
  }
  return options;
}

Swarm::Swarm(const Scenario& scenario, const SwarmOptions& options)
    : scenario_(scenario),
      options_(options),
      random_(options.seed),
      layout_(*PieceLayout::Make(static_cast<uint64_t>(scenario.file_bytes),
                                 PieceLengthFor(static_cast<uint64_t>(scenario.file_bytes)))),
      evaluator_(EvaluatorOf(options.rules)),
      shard_(std::make_unique<scheduler::Shard>(OptionsOf(options.rules), table_, *evaluator_, *this)) {
  for (size_t i = 0; i < scenario_.files; ++i) tasks_.push_back("task-" + std::to_string(i));
  for (size_t i = 0; i < scenario_.sites; ++i) {
    wan_.emplace_back(Network::kNone, Network::kNone);
    if (scenario_.site_rate > 0)
      wan_.back() = {network_.AddLink(scenario_.site_rate), network_.AddLink(scenario_.site_rate)};
  }
  hosts_.emplace_back();
  hosts_[kOriginHost].up = network_.AddLink(scenario_.seed_rate);
  hosts_[kOriginHost].down = network_.AddLink(1);
  for (size_t i = 0; i < scenario_.seeds; ++i) AddHost(true, scenario_.seed_rate);
  MakeSeeds();
  const double step = scenario_.peers > 1 ? scenario_.arrival_seconds / static_cast<double>(scenario_.peers - 1) : 0;
  std::vector<double> rates(scenario_.peers, scenario_.peer_rate);
  std::fill_n(rates.begin(), static_cast<size_t>(scenario_.slow_share * static_cast<double>(scenario_.peers)),
              scenario_.slow_rate);
  std::shuffle(rates.begin(), rates.end(), random_);
  for (size_t i = 0; i < scenario_.peers; ++i) {
    At(step * static_cast<double>(i), Kind::kArrive, AddHost(false, rates[i]));
    ++arriving_;
  }
  if (scenario_.churn_per_minute > 0)
    At(60 / (scenario_.churn_per_minute * static_cast<double>(scenario_.peers)), Kind::kDie, 0);
}

Swarm::~Swarm() { shard_.reset(); }

uint32_t Swarm::AddHost(bool seed, double rate) {
  Host host;
  const auto index = static_cast<uint32_t>(hosts_.size());
  host.up = network_.AddLink(rate);
  host.down = network_.AddLink(rate);
  host.site = index % static_cast<uint32_t>(scenario_.sites);
  host.rate = rate;
  host.seed = seed;
  host.id = "h" + std::to_string(index);
  auto facts = std::make_shared<scheduler::HostFacts>();
  facts->id = host.id;
  facts->hostname = host.id;
  facts->ip = "10.0.0.1";
  facts->port = 4000;
  facts->type = seed ? 1 : 0;
  facts->upload_limit = seed ? 2000 : 200;
  facts->announce_interval = std::chrono::minutes(5);
  facts->idc = scenario_.sites > 1 ? "site-" + std::to_string(host.site) : "";
  facts->max_tx_rate = rate;
  table_.Announce(std::move(facts), ToTime(now_));
  hosts_.push_back(std::move(host));
  return index;
}

uint32_t Swarm::AddPeer(uint32_t host, uint32_t file) {
  const auto index = static_cast<uint32_t>(peers_.size());
  SimPeer peer;
  peer.host = host;
  peer.file = file;
  peer.id = "p" + std::to_string(index);
  peer.has = daemon::PieceSet(layout_.piece_count());
  peer.arrived = now_;
  peers_.push_back(std::move(peer));
  peers_.back().stream = std::make_shared<Stream>(*this, index);
  hosts_[host].peers.push_back(index);
  return index;
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
  for (auto& [delay, line] : lines_) line.clear();
}

void Swarm::At(double when, Kind kind, uint32_t a, uint32_t b, uint32_t c, uint16_t more) {
  heap_.push({when, kind, more, a, b, c});
}

void Swarm::After(double delay, Kind kind, uint32_t a, uint32_t b, uint32_t c, uint16_t more) {
  for (auto& [of, line] : lines_) {
    if (of != delay) continue;
    line.push_back({now_ + delay, kind, more, a, b, c});
    return;
  }
  lines_.emplace_back(delay, std::deque<Event>());
  lines_.back().second.push_back({now_ + delay, kind, more, a, b, c});
}

double Swarm::Latency(uint32_t a, uint32_t b) const {
  return hosts_[a].site == hosts_[b].site ? scenario_.latency : scenario_.site_latency;
}

void Swarm::Answer(uint32_t peer, Given given) {
  peers_[peer].inbox.push_back(std::move(given));
  After(scenario_.latency, Kind::kAnswer, peer);
}

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
  peer.batch = std::make_unique<PieceDispatcher>(layout_, options);
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

void Swarm::Begin(const Event& event) {
  SimPeer& child = peers_[event.a];
  const SimPeer& parent = peers_[child.parents[event.b]];
  if (parent.phase == Phase::kDead) return;
  Host& from = hosts_[parent.host];
  const Host& to = hosts_[child.host];
  for (Transfer& transfer : child.transfers) {
    if (transfer.piece != event.c || transfer.parent != event.b || transfer.flow != Network::kNoFlow) continue;
    if (from.serving >= scenario_.uploads_max) {
      from.queue.push_back(event);
      return;
    }
    ++from.serving;
    const bool far = from.site != to.site;
    transfer.flow = network_.Start(
        from.up, to.down, far ? wan_[from.site].first : Network::kNone, far ? wan_[to.site].second : Network::kNone,
        static_cast<double>(layout_.RangeOf(PieceNumber(event.c)).length), uint64_t{event.a} << 32 | event.c, now_);
    return;
  }
}

void Swarm::Served(Host& host) {
  --host.serving;
  while (host.serving < scenario_.uploads_max && !host.queue.empty()) {
    const Event next = host.queue.front();
    host.queue.pop_front();
    if (peers_[next.a].generation == next.more && peers_[next.a].phase == Phase::kDownloading) Begin(next);
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
  if (transfer.piece != kWholeRest) Served(hosts_[peers_[peer.parents[transfer.parent]].host]);
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
  Served(hosts_[peers_[peer.parents[parent_index]].host]);
  const PieceNumber piece(number);
  peer.has.Insert(piece);
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
  peer.subscribers.clear();
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

void Swarm::Handle(const Event& event) {
  const auto stale = [&](uint16_t generation) {
    return peers_[event.a].generation != generation || peers_[event.a].phase != Phase::kDownloading;
  };
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
    case Kind::kSubscribe: {
      if (stale(event.more)) break;
      const uint32_t parent_index = peers_[event.a].parents[event.b];
      SimPeer& parent = peers_[parent_index];
      const double back = Latency(parent.host, peers_[event.a].host);
      if (parent.phase == Phase::kDead) {
        After(back, Kind::kParentLost, event.a, event.b, 0, event.more);
        break;
      }
      if (parent.phase != Phase::kComplete) parent.subscribers.push_back({event.a, event.b, event.more});
      After(back, Kind::kTold, event.a, event.b, 0, event.more);
      break;
    }
    case Kind::kTold: {
      if (stale(event.more)) break;
      SimPeer& child = peers_[event.a];
      const SimPeer& parent = peers_[child.parents[event.b]];
      if (parent.phase == Phase::kDead) break;
      for (auto piece = parent.has.NextFrom(PieceNumber(0)); piece; piece = parent.has.NextFrom(piece->next())) {
        child.batch->Announce(event.b, *piece);
      }
      if (parent.phase == Phase::kComplete) child.batch->SetNewsOpen(event.b, false);
      Pump(event.a);
      break;
    }
    case Kind::kNews:
      if (stale(event.more)) break;
      peers_[event.a].batch->Announce(event.b, PieceNumber(event.c));
      Pump(event.a);
      break;
    case Kind::kNewsEnded:
      break;
    case Kind::kParentLost:
      if (!stale(event.more)) DropParent(event.a, event.b);
      break;
    case Kind::kBegin:
      if (!stale(event.more)) Begin(event);
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

Outcome Swarm::Run() {
  const std::clock_t cpu = std::clock();
  const double end = scenario_.arrival_seconds + 40 * scenario_.FluidBound() + 60;
  double traced = 0;
  while ((running_ > 0 || arriving_ > 0) && now_ < end) {
    std::deque<Event>* line = nullptr;
    double next = heap_.empty() ? Network::kNever : heap_.top().at;
    for (auto& [delay, events] : lines_) {
      if (!events.empty() && events.front().at < next) {
        next = events.front().at;
        line = &events;
      }
    }
    const double flow = network_.NextEvent();
    const double tick = ToSeconds(shard_->NextDeadline());
    if (std::min(flow, tick) < next) {
      now_ = std::max(now_, std::min(flow, tick));
      if (tick <= flow) {
        shard_->Tick(Now());
      } else {
        const std::optional<uint64_t> tag = network_.Advance(now_);
        if (tag.has_value()) TransferEnded(static_cast<uint32_t>(*tag >> 32), static_cast<uint32_t>(*tag));
      }
    } else {
      if (next == Network::kNever) break;
      Event event{};
      if (line != nullptr) {
        event = line->front();
        line->pop_front();
      } else {
        event = heap_.top();
        heap_.pop();
      }
      now_ = std::max(now_, event.at);
      Handle(event);
    }
    if (options_.trace && now_ >= traced) {
      // Pieces of the first file that any peer has.
      daemon::PieceSet out(layout_.piece_count());
      for (const SimPeer& peer : peers_) {
        if (peer.file != 0 || hosts_[peer.host].seed) continue;
        for (auto p = peer.has.NextFrom(PieceNumber(0)); p; p = peer.has.NextFrom(p->next())) out.Insert(*p);
      }
      std::fprintf(stderr, "out %.3f ", static_cast<double>(out.size()) / static_cast<double>(layout_.piece_count()));
      size_t pieces = 0, transfers = 0, asking = 0, complete = 0, parents = 0;
      for (const SimPeer& peer : peers_) {
        pieces += peer.has.size();
        transfers += peer.transfers.size();
        asking += peer.phase == Phase::kAsking;
        complete += peer.phase == Phase::kComplete;
        parents += peer.parents.size();
      }
      std::fprintf(
          stderr, "%6.2f s: peers %zu asking %zu complete %zu, pieces %.3f, transfers %.2f, parents %.2f\n", now_,
          peers_.size(), asking, complete,
          static_cast<double>(pieces) / static_cast<double>(layout_.piece_count()) / static_cast<double>(peers_.size()),
          static_cast<double>(transfers) / static_cast<double>(peers_.size()),
          static_cast<double>(parents) / static_cast<double>(peers_.size()));
      traced += scenario_.FluidBound() / 20;
    }
  }
  // A host has everything when it has its last file.
  std::vector<double> times;
  double uploaded = 0, most = 0, seeded = 0;
  size_t uploaders = 0;
  for (const Host& host : hosts_) {
    if (&host == &hosts_[kOriginHost]) continue;
    const double bytes = network_.bytes_through(host.up);
    if (host.seed) {
      seeded += bytes;
      continue;
    }
    uploaded += bytes;
    most = std::max(most, bytes);
    ++uploaders;
    if (host.dead) continue;
    double arrived = 0, done = 0;
    bool all = true;
    for (const uint32_t index : host.peers) {
      arrived = peers_[index].arrived;
      done = std::max(done, peers_[index].done);
      all = all && peers_[index].phase == Phase::kComplete;
    }
    if (!all) {
      ++outcome_.unfinished;
      continue;
    }
    times.push_back(done - arrived);
    outcome_.makespan = std::max(outcome_.makespan, done);
  }
  std::sort(times.begin(), times.end());
  const auto quantile = [&](double q) {
    return times.empty()
               ? 0
               : times[std::min(times.size() - 1, static_cast<size_t>(q * static_cast<double>(times.size())))];
  };
  for (const double time : times) outcome_.mean += time / static_cast<double>(times.size());
  outcome_.p50 = quantile(0.5);
  outcome_.p99 = quantile(0.99);
  outcome_.p999 = quantile(0.999);
  outcome_.worst = quantile(1);
  outcome_.bound = scenario_.FluidBound();
  outcome_.ratio = outcome_.worst / outcome_.bound;
  outcome_.upload_spread = uploaded > 0 ? most / (uploaded / static_cast<double>(uploaders)) : 0;
  outcome_.seed_share = seeded / (seeded + uploaded);
  outcome_.wasted_share = wasted_ / (seeded + uploaded);
  outcome_.cpu_seconds = static_cast<double>(std::clock() - cpu) / CLOCKS_PER_SEC;
  return outcome_;
}

}  // namespace

double Scenario::FluidBound() const {
  const double bytes = file_bytes * static_cast<double>(files);
  const double us = seed_rate * static_cast<double>(seeds);
  const double n = static_cast<double>(peers);
  const double sum = n * (slow_share * slow_rate + (1 - slow_share) * peer_rate);
  return std::max({bytes / us, bytes / MinRate(), n * bytes / (us + sum)});
}

Outcome Simulate(const Scenario& scenario, const SwarmOptions& options) { return Swarm(scenario, options).Run(); }

}  // namespace dragonfly::swarm
