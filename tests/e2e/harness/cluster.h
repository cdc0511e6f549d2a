// SPDX-License-Identifier: Apache-2.0
// A Dragonfly cluster of real programs on this machine: a scheduler, a seed peer, peers, and dfget to use them.
#pragma once

#include <chrono>
#include <memory>
#include <optional>
#include <string>
#include <vector>

#include "tests/e2e/harness/process.h"

namespace dragonfly::e2e {

// A directory that is removed with its content.
class TempDir {
 public:
  TempDir();
  ~TempDir();
  const std::string& path() const { return path_; }

 private:
  std::string path_;
};

// Path of one of the project's programs, built beside the tests.
std::string Program(const std::string& name);

class SchedulerProcess {
 public:
  // `extra`: YAML lines appended to the configuration.
  explicit SchedulerProcess(const std::string& dir, const std::string& extra = "");
  int port() const { return port_; }
  Process& process() { return process_; }
  // Again on the same port, by SIGKILL or in order.
  void Kill() { process_.Kill(); }
  void Start();
  void Restart() {
    Kill();
    Start();
  }

 private:
  std::string dir_;
  int port_;
  Process process_;
};

struct PeerSettings {
  std::string name;
  bool seed = false;
  bool keep = true;           // storage.keep
  std::string extra;          // YAML lines appended to the configuration
  int concurrent_pieces = 8;  // download.concurrentPieceCount
  std::string piece_timeout = "120s";
  std::string scheduler;             // further lines of the section, with their indentation
  std::string download;              // likewise
  std::string upload;                // likewise
  std::string proxy;                 // likewise
  std::vector<int> more_schedulers;  // ports on 127.0.0.1
  std::string log_level = "debug";
};

class Peer {
 public:
  // Starts the daemon and returns when it says that it is ready.
  Peer(const std::string& dir, int scheduler_port, PeerSettings settings);

  const std::string& name() const { return settings_.name; }
  const std::string& dir() const { return dir_; }
  std::string socket() const { return dir_ + "/dfdaemon.sock"; }
  std::string storage() const { return dir_ + "/storage"; }
  // What its /readyz says.
  std::string Readiness() const { return HttpBody(health_port_, "/readyz"); }
  Process& process() { return process_; }
  int proxy_port() const { return proxy_port_; }
  // Again on the same directory.
  void Restart();
  // Value of a metric summed over its label sets that contain `label` (all when empty).
  double Metric(const std::string& name, const std::string& label = "");

  // dfget through this peer; runs in the background.
  Process Dfget(const std::string& url, const std::string& output, std::vector<std::string> options = {});

 private:
  void Start();

  std::string dir_;
  PeerSettings settings_;
  int health_port_ = 0;
  int metrics_port_ = 0;
  int proxy_port_ = 0;
  int dfget_runs_ = 0;
  Process process_;
};

class Cluster {
 public:
  // A scheduler, a seed peer (unless `with_seed` is false) and `peers` peers.
  explicit Cluster(size_t peers, bool with_seed = true, std::string peer_extra = "");

  const std::string& dir() const { return dir_.path(); }
  SchedulerProcess& scheduler() { return *scheduler_; }
  Peer& seed() { return *seed_; }
  Peer& peer(size_t index) { return *peers_[index]; }
  size_t size() const { return peers_.size(); }
  std::string Output(const std::string& name) const { return dir_.path() + "/out/" + name; }

 private:
  TempDir dir_;
  std::unique_ptr<SchedulerProcess> scheduler_;
  std::unique_ptr<Peer> seed_;
  std::vector<std::unique_ptr<Peer>> peers_;
};

// Writes `bytes` random bytes (from `seed`) to `path`.
void WriteRandomFile(const std::string& path, uint64_t bytes, uint64_t seed = 1);
// True when both files exist with equal content.
bool SameContent(const std::string& a, const std::string& b);

}  // namespace dragonfly::e2e
