// SPDX-License-Identifier: Apache-2.0
// A swarm in virtual time: the real scheduler (one shard of it) and the real piece choice of the daemon, on hosts that
// exist only as the capacities of their links. What is modelled by hand: latencies, the sharing of links, and the
// order of messages that src/daemon/parent_batch.cc and task_download_fetch.cc send.
#pragma once

#include <cstdint>
#include <string>
#include <vector>

namespace dragonfly::swarm {

struct Scenario {
  Scenario() = default;
  std::string name;

  // Hosts. Seeds come first and are complete from the start.
  size_t seeds = 1;
  double seed_rate = 125e6;  // bytes a second, each way
  size_t peers = 100;
  double peer_rate = 125e6;
  double slow_share = 0;  // of the peers ...
  double slow_rate = 0;   // ... have this rate
  size_t sites = 1;       // hosts are dealt out to data centres
  double site_rate = 0;   // bytes a second into and out of each; 0: no limit
  double latency = 0.0005;
  double site_latency = 0.010;  // one way, between data centres

  // Every peer wants every file.
  size_t files = 1;
  double file_bytes = 1e9;

  // Peers begin within this time, evenly, and the last of them a bit later than the first.
  double arrival_seconds = 0.1;
  // Share of the hosts that die, without a word, in each minute; as many new ones come.
  double churn_per_minute = 0;

  // Somebody at each peer reads the file in order while it comes, as the clients of a proxy do.
  bool readers = false;

  // What the scheduler needs for a registration, one at a time.
  double registration_seconds = 50e-6;

  double MinRate() const { return slow_share > 0 ? slow_rate : peer_rate; }
  // Seconds that no schedule can beat: max(F/us, F/dmin, N*F/(us + sum u)), for all files together.
  double FluidBound() const;
};

enum class Rules {
  kReference,  // dragonfly v2.3.0: default evaluator, its filters, its sample
  kDefault,    // ours with `algorithm: default`
  kLoad,       // ours with `algorithm: load`
  kWide,       // the same, with daemons that take more parents while they download
};

struct Outcome {
  Outcome() = default;
  // Seconds from a peer's arrival until it has everything; peers that died do not count.
  double mean = 0, p50 = 0, p99 = 0, p999 = 0, worst = 0;
  double first_p50 = 0, first_p99 = 0;  // until it has the first piece of the file
  // From the first arrival until the last peer had everything.
  double makespan = 0;
  double bound = 0;
  // The worst over the bound: of the makespan when all arrive together, else of the single peers.
  double ratio = 0;
  // Uploaded bytes of peers, most over mean.
  double upload_spread = 0;
  double seed_share = 0;    // of all bytes
  double wasted_share = 0;  // bytes of transfers that were broken off
  size_t unfinished = 0;
  size_t from_source = 0;  // peers that were sent to the origin
  uint64_t reschedules = 0;
  double cpu_seconds = 0;
  // The most processor time of one step of the real scheduler, in milliseconds.
  double longest_step = 0;
};

struct SwarmOptions {
  SwarmOptions() = default;
  Rules rules = Rules::kWide;
  uint64_t seed = 1;
  bool trace = false;
};

Outcome Simulate(const Scenario& scenario, const SwarmOptions& options);

}  // namespace dragonfly::swarm
