// SPDX-License-Identifier: Apache-2.0
#include "tests/e2e/harness/peer_host.h"

#include <gtest/gtest.h>

#include <filesystem>
#include <fstream>

#include "tests/e2e/harness/cluster.h"

namespace dragonfly::e2e {
namespace {

constexpr std::chrono::seconds kStartTimeout{30};
constexpr int kSeedNumber = 10;

Process StartScheduler(const std::string& dir, const std::string& lines) {
  std::filesystem::create_directories(dir);
  std::ofstream(dir + "/scheduler.yaml") << "server:\n  listenIP: " << kCenter << "\n  advertiseIP: " << kCenter
                                         << "\n  port: 8002\n  logDir: " << dir << "/log\n  dataDir: " << dir
                                         << "/data\n  cacheDir: " << dir << "/cache\n  pluginDir: " << dir
                                         << "/plugins\n"
                                         << lines;
  return Process({Program("scheduler"), "--config", dir + "/scheduler.yaml", "--console"}, dir + "/scheduler.out");
}

}  // namespace

PeerHost::PeerHost(const std::string& dir, int number, bool seed, const std::string& lines) : host_(dir, number) {
  std::ofstream(dir + "/dfdaemon.yaml") << "host:\n  ip: " << host_.ip() << "\n  hostname: host-" << number
                                        << "\nscheduler:\n  addrs: ['" << kCenter
                                        << ":8002']\nseedPeer:\n  enable: " << (seed ? "true" : "false")
                                        << "\ndownload:\n  server:\n    socketPath: " << dir
                                        << "/dfdaemon.sock\nstorage:\n  dir: " << dir << "/storage\n"
                                        << lines;
  daemon_ = host_.Start(
      {Program("dfdaemon"), "--config", dir + "/dfdaemon.yaml", "--log-dir", dir + "/log", "--log-level", "debug"},
      "dfdaemon.out");
  const bool ready = Await(
      [&] {
        Process curl = host_.Start({"curl", "-sf", "-o", "/dev/null", "http://127.0.0.1:4003/healthy"}, "curl.out");
        return curl.Wait(kStartTimeout) == 0 || !daemon_.Running();
      },
      kStartTimeout);
  EXPECT_TRUE(ready && daemon_.Running()) << daemon_.Log();
}

HostCluster::HostCluster(const std::string& dir, size_t peers, const std::string& lines,
                         const std::string& scheduler_lines)
    : scheduler_(StartScheduler(dir + "/scheduler", scheduler_lines)),
      seed_(std::make_unique<PeerHost>(dir + "/seed", kSeedNumber, true, lines)) {
  for (size_t i = 0; i < peers; ++i) {
    const int number = kSeedNumber + 1 + static_cast<int>(i);
    peers_.push_back(std::make_unique<PeerHost>(dir + "/host-" + std::to_string(number), number, false, lines));
  }
}

}  // namespace dragonfly::e2e
