// SPDX-License-Identifier: Apache-2.0
// A cluster whose peers are hosts with networks of their own (see network.h), for programs that reach their dfdaemon
// at its usual address, 127.0.0.1:4001.
#pragma once

#include <memory>
#include <string>
#include <vector>

#include "tests/e2e/harness/network.h"
#include "tests/e2e/harness/process.h"

namespace dragonfly::e2e {

// A host with a running dfdaemon.
class PeerHost {
 public:
  // `lines` are added to the configuration. Returns when the daemon says that it is ready.
  PeerHost(const std::string& dir, int number, bool seed, const std::string& lines);

  Host& host() { return host_; }
  Process& daemon() { return daemon_; }

 private:
  Host host_;
  Process daemon_;
};

// A scheduler at kCenter, a seed peer and peers.
class HostCluster {
 public:
  // `scheduler_lines` are added to the scheduler's configuration.
  HostCluster(const std::string& dir, size_t peers, const std::string& lines, const std::string& scheduler_lines = "");

  Process& scheduler() { return scheduler_; }

  PeerHost& seed() { return *seed_; }
  PeerHost& peer(size_t index) { return *peers_[index]; }
  size_t size() const { return peers_.size(); }

 private:
  Process scheduler_;
  std::unique_ptr<PeerHost> seed_;
  std::vector<std::unique_ptr<PeerHost>> peers_;
};

}  // namespace dragonfly::e2e
