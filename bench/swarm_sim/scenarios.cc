// SPDX-License-Identifier: Apache-2.0
#include "scenarios.h"

#include <utility>

namespace dragonfly::swarm {
namespace {

Scenario Flat(std::string name, size_t peers) {
  Scenario scenario;
  scenario.name = std::move(name);
  scenario.peers = peers;
  scenario.seed_rate = 10 * scenario.peer_rate;
  return scenario;
}

}  // namespace

// Unless said otherwise: one seed of 10 Gbit/s and peers of 1 Gbit/s each way, a file of 1 GB in pieces of 4 MiB, half
// a millisecond between any two hosts, and all peers arrive within 0.1 s.
std::vector<Scenario> AllScenarios() {
  std::vector<Scenario> all = {Flat("flat-10", 10), Flat("flat-100", 100), Flat("flat-1000", 1000),
                               Flat("flat-10000", 10000)};
  Scenario slow = Flat("half-slow", 1000);
  slow.slow_share = 0.5;
  slow.slow_rate = slow.peer_rate / 4;
  all.push_back(slow);

  Scenario seed = Flat("slow-seed", 1000);
  seed.seed_rate = seed.peer_rate / 10;
  all.push_back(seed);

  Scenario equal = Flat("equal-seed", 1000);
  equal.seed_rate = equal.peer_rate;
  all.push_back(equal);

  Scenario churn = Flat("churn", 1000);
  churn.churn_per_minute = 0.01;
  churn.file_bytes = 8e9;
  all.push_back(churn);

  Scenario flash = Flat("flash-crowd", 2000);
  flash.arrival_seconds = 0;
  all.push_back(flash);

  Scenario trickle = Flat("trickle", 1000);
  trickle.arrival_seconds = 60;
  all.push_back(trickle);

  Scenario sites = Flat("3-sites", 999);
  sites.sites = 3;
  sites.site_rate = 1.25e9;
  all.push_back(sites);

  Scenario many_sites = sites;
  many_sites.name = "30-sites";
  many_sites.peers = 1500;
  many_sites.sites = 30;
  all.push_back(many_sites);

  Scenario narrow_sites = sites;
  narrow_sites.name = "narrow-sites";
  narrow_sites.site_rate = 125e6;
  all.push_back(narrow_sites);

  // Uber's Kraken, README: 2600 hosts, an image of 3 GB in two layers, 300 MB/s a host, 5 origins.
  Scenario kraken;
  kraken.name = "kraken";
  kraken.seeds = 5;
  kraken.seed_rate = kraken.peer_rate = 300e6;
  kraken.peers = 2600;
  kraken.files = 2;
  kraken.file_bytes = 1.5e9;
  all.push_back(kraken);
  return all;
}

}  // namespace dragonfly::swarm
