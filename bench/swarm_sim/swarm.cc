// SPDX-License-Identifier: Apache-2.0
#include "swarm.h"

#include <algorithm>
#include <cstdio>
#include <ctime>
#include <optional>
#include <string>
#include <utility>

#include "reference.h"
#include "runtime/process_usage.h"
#include "swarm_state.h"

namespace dragonfly::swarm {
namespace {

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

// Of sorted values; 0 when there are none.
double Quantile(const std::vector<double>& values, double q) {
  if (values.empty()) return 0;
  return values[std::min(values.size() - 1, static_cast<size_t>(q * static_cast<double>(values.size())))];
}

}  // namespace

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
  facts->max_tx_rate = facts->max_rx_rate = rate;
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
  peers_.back().stream = MakeStream(*this, index);
  hosts_[host].peers.push_back(index);
  return index;
}

void Swarm::At(double when, Kind kind, uint32_t a, uint32_t b, uint32_t c, uint16_t more) {
  events_.At({when, kind, more, a, b, c});
}

void Swarm::After(double delay, Kind kind, uint32_t a, uint32_t b, uint32_t c, uint16_t more) {
  events_.After(now_, delay, {0, kind, more, a, b, c});
}

double Swarm::Latency(uint32_t a, uint32_t b) const {
  return hosts_[a].site == hosts_[b].site ? scenario_.latency : scenario_.site_latency;
}

Outcome Swarm::Run() {
  const std::clock_t cpu = std::clock();
  const double end = scenario_.arrival_seconds + 40 * scenario_.FluidBound() + 60;
  double traced = 0;
  while ((running_ > 0 || arriving_ > 0) && now_ < end) {
    const double message = events_.Next(Network::kNever);
    const double flow = network_.NextEvent();
    const double tick = ToSeconds(shard_->NextDeadline());
    const double next = std::min({message, flow, tick});
    if (next == Network::kNever) break;
    now_ = std::max(now_, next);
    const Clock::duration before = runtime::ThreadTime();
    bool of_scheduler = true;
    if (tick <= flow && tick < message) {
      shard_->Tick(Now());
    } else if (flow < message) {
      const std::optional<uint64_t> tag = network_.Advance(now_);
      if (tag.has_value()) TransferEnded(static_cast<uint32_t>(*tag >> 32), static_cast<uint32_t>(*tag));
      of_scheduler = false;
    } else {
      const Event event = events_.Pop();
      of_scheduler = IsForScheduler(event.kind);
      Handle(event);
    }
    if (of_scheduler) {
      const std::chrono::duration<double, std::milli> step = runtime::ThreadTime() - before;
      outcome_.longest_step = std::max(outcome_.longest_step, step.count());
    }
    if (options_.trace && now_ >= traced) {
      Trace();
      traced += scenario_.FluidBound() / 20;
    }
  }
  Outcome outcome = Summary();
  outcome.cpu_seconds = static_cast<double>(std::clock() - cpu) / CLOCKS_PER_SEC;
  return outcome;
}

void Swarm::Trace() {
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
}

Outcome Swarm::Summary() {
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
  std::vector<double> first;
  for (const SimPeer& peer : peers_) {
    if (!hosts_[peer.host].seed && peer.first_piece < Network::kNever) first.push_back(peer.first_piece - peer.arrived);
  }
  std::sort(first.begin(), first.end());
  outcome_.first_p50 = Quantile(first, 0.5);
  outcome_.first_p99 = Quantile(first, 0.99);
  for (const double time : times) outcome_.mean += time / static_cast<double>(times.size());
  outcome_.p50 = Quantile(times, 0.5);
  outcome_.p99 = Quantile(times, 0.99);
  outcome_.p999 = Quantile(times, 0.999);
  outcome_.worst = Quantile(times, 1);
  outcome_.bound = scenario_.FluidBound();
  outcome_.ratio = outcome_.worst / outcome_.bound;
  outcome_.upload_spread = uploaded > 0 ? most / (uploaded / static_cast<double>(uploaders)) : 0;
  outcome_.seed_share = seeded / (seeded + uploaded);
  outcome_.wasted_share = wasted_ / (seeded + uploaded);
  return outcome_;
}

double Scenario::FluidBound() const {
  const double bytes = file_bytes * static_cast<double>(files);
  const double us = seed_rate * static_cast<double>(seeds);
  const double n = static_cast<double>(peers);
  const double sum = n * (slow_share * slow_rate + (1 - slow_share) * peer_rate);
  return std::max({bytes / us, bytes / MinRate(), n * bytes / (us + sum)});
}

Outcome Simulate(const Scenario& scenario, const SwarmOptions& options) { return Swarm(scenario, options).Run(); }

}  // namespace dragonfly::swarm
