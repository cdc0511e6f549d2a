// SPDX-License-Identifier: Apache-2.0
#include "tests/e2e/harness/cluster.h"

#include <gtest/gtest.h>
#include <stdlib.h>

#include <algorithm>
#include <cstring>
#include <filesystem>
#include <fstream>
#include <random>
#include <sstream>

namespace dragonfly::e2e {
namespace {

constexpr std::chrono::seconds kStartTimeout{30};

}  // namespace

TempDir::TempDir() {
  const char* base = std::getenv("TMPDIR");
  std::string pattern = std::string(base != nullptr ? base : "/tmp") + "/dragonfly-e2e-XXXXXX";
  path_ = ::mkdtemp(pattern.data());
}

TempDir::~TempDir() {
  if (std::getenv("DF_KEEP_TEST_DIRS") != nullptr) return;
  std::error_code error;
  std::filesystem::remove_all(path_, error);
}

std::string Program(const std::string& name) { return std::string(DF_PROGRAM_DIR) + "/" + name; }

SchedulerProcess::SchedulerProcess(const std::string& dir, const std::string& extra) : dir_(dir), port_(FreePort()) {
  std::filesystem::create_directories(dir);
  std::ofstream(dir + "/scheduler.yaml") << "server:\n  listenIP: 127.0.0.1\n  advertiseIP: 127.0.0.1\n  port: "
                                         << port_ << "\n  advertisePort: " << port_ << "\n  logDir: " << dir
                                         << "/log\n  dataDir: " << dir << "/data\n  cacheDir: " << dir
                                         << "/cache\n  pluginDir: " << dir << "/plugins\n"
                                         << extra;
  Start();
}

void SchedulerProcess::Start() {
  process_ =
      Process({Program("scheduler"), "--config", dir_ + "/scheduler.yaml", "--console"}, dir_ + "/scheduler.out");
  // Its port answers HTTP/2 only; that it accepts is enough.
  EXPECT_TRUE(Await([&] { return TcpAccepts(port_); }, kStartTimeout)) << process_.Log();
}

Peer::Peer(const std::string& dir, int scheduler_port, PeerSettings settings)
    : dir_(dir),
      settings_(std::move(settings)),
      health_port_(FreePort()),
      metrics_port_(FreePort()),
      proxy_port_(FreePort()) {
  std::filesystem::create_directories(dir_);
  std::string addresses = "127.0.0.1:" + std::to_string(scheduler_port);
  for (const int port : settings_.more_schedulers) addresses += "\n    - 127.0.0.1:" + std::to_string(port);
  std::ofstream(dir_ + "/dfdaemon.yaml") << "host:\n  ip: 127.0.0.1\n  hostname: " << settings_.name << "\nscheduler:\n"
                                         << settings_.scheduler << "  addrs:\n    - " << addresses
                                         << "\nseedPeer:\n  enable: " << (settings_.seed ? "true" : "false")
                                         << "\ndownload:\n  concurrentPieceCount: " << settings_.concurrent_pieces
                                         << "\n  pieceTimeout: " << settings_.piece_timeout
                                         << "\n  server:\n    socketPath: " << socket() << "\n"
                                         << settings_.download << "upload:\n  server:\n    ip: 127.0.0.1\n    port: 0\n"
                                         << settings_.upload << "storage:\n  dir: " << storage()
                                         << "\n  keep: " << (settings_.keep ? "true" : "false")
                                         << "\n  server:\n    ip: 127.0.0.1\n    tcpPort: 0\n    quicPort: 0"
                                         << "\nproxy:\n  server:\n    ip: 127.0.0.1\n    port: " << proxy_port_ << "\n"
                                         << settings_.proxy << "stats:\n  server:\n    ip: 127.0.0.1\n    port: 0"
                                         << "\nhealth:\n  server:\n    ip: 127.0.0.1\n    port: " << health_port_
                                         << "\nmetrics:\n  server:\n    ip: 127.0.0.1\n    port: " << metrics_port_
                                         << "\n"
                                         << settings_.extra;
  Start();
}

void Peer::Start() {
  process_ = Process({Program("dfdaemon"), "--config", dir_ + "/dfdaemon.yaml", "--log-dir", dir_ + "/log",
                      "--log-level", settings_.log_level},
                     dir_ + "/dfdaemon.out");
  EXPECT_TRUE(Await([&] { return HttpStatus(health_port_, "/healthy") == 200 || !process_.Running(); }, kStartTimeout));
  EXPECT_TRUE(process_.Running()) << process_.Log();
}

void Peer::Restart() {
  process_.Kill();
  Start();
}

double Peer::Metric(const std::string& name, const std::string& label) {
  std::istringstream lines(HttpBody(metrics_port_, "/metrics"));
  double sum = 0;
  for (std::string line; std::getline(lines, line);) {
    if (line.compare(0, name.size(), name) != 0) continue;
    const char next = line.size() > name.size() ? line[name.size()] : '\0';
    if (next != '{' && next != ' ') continue;
    if (!label.empty() && line.find(label) == std::string::npos) continue;
    sum += std::strtod(line.c_str() + line.rfind(' '), nullptr);
  }
  return sum;
}

Process Peer::Dfget(const std::string& url, const std::string& output, std::vector<std::string> options) {
  std::vector<std::string> argv = {Program("dfget"), url,      "--output",  output,
                                   "--endpoint",     socket(), "--timeout", "120s"};
  argv.insert(argv.end(), options.begin(), options.end());
  return Process(std::move(argv), dir_ + "/dfget-" + std::to_string(dfget_runs_++) + ".out");
}

Cluster::Cluster(size_t peers, bool with_seed, std::string peer_extra) {
  std::filesystem::create_directories(dir_.path() + "/out");
  scheduler_ = std::make_unique<SchedulerProcess>(dir_.path() + "/scheduler");
  if (with_seed) {
    seed_ =
        std::make_unique<Peer>(dir_.path() + "/seed", scheduler_->port(), PeerSettings{.name = "seed", .seed = true});
  }
  for (size_t i = 0; i < peers; ++i) {
    const std::string name = "peer-" + std::to_string(i);
    peers_.push_back(std::make_unique<Peer>(dir_.path() + "/" + name, scheduler_->port(),
                                            PeerSettings{.name = name, .extra = peer_extra}));
  }
}

void WriteRandomFile(const std::string& path, uint64_t bytes, uint64_t seed) {
  std::ofstream file(path, std::ios::binary);
  std::mt19937_64 random(seed);
  std::vector<uint64_t> block(1 << 17);
  while (bytes > 0) {
    for (uint64_t& word : block) word = random();
    const uint64_t n = std::min<uint64_t>(bytes, block.size() * sizeof(uint64_t));
    file.write(reinterpret_cast<const char*>(block.data()), static_cast<std::streamsize>(n));
    bytes -= n;
  }
}

bool SameContent(const std::string& a, const std::string& b) {
  std::ifstream left(a, std::ios::binary), right(b, std::ios::binary);
  if (!left || !right) return false;
  std::vector<char> x(1 << 20), y(1 << 20);
  for (;;) {
    left.read(x.data(), static_cast<std::streamsize>(x.size()));
    right.read(y.data(), static_cast<std::streamsize>(y.size()));
    if (left.gcount() != right.gcount()) return false;
    if (left.gcount() == 0) return true;
    if (std::memcmp(x.data(), y.data(), static_cast<size_t>(left.gcount())) != 0) return false;
  }
}

}  // namespace dragonfly::e2e
