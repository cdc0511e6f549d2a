// SPDX-License-Identifier: Apache-2.0
// A network between two UDP peers that loses, doubles and reorders datagrams.
#pragma once

#include <atomic>
#include <cstdint>
#include <thread>

#include "base/unique_fd.h"

namespace dragonfly::vortex {

// Relays between whoever sends to port() and the server, both on 127.0.0.1; each client address gets a port of its own
// towards the server.
class LossyRelay {
 public:
  struct Weather {
    int lost_percent = 0;
    int doubled_percent = 0;
    int late_percent = 0;  // delivered after the one behind it
  };
  LossyRelay(uint16_t server_port, Weather weather);
  ~LossyRelay();

  uint16_t port() const { return port_; }
  // From now on nothing passes.
  void Cut() { cut_ = true; }
  // From now on the server sees the clients at other ports.
  void MoveClients() { moved_ = true; }
  // Datagrams of the clients, whatever became of them.
  uint64_t sent_by_clients() const { return sent_by_clients_; }
  uint64_t lost() const { return lost_; }
  uint64_t late() const { return late_; }

 private:
  void Run();

  const uint16_t server_port_;
  const Weather weather_;
  UniqueFd facing_clients_;
  uint16_t port_ = 0;
  std::atomic<bool> stop_ = false;
  std::atomic<bool> cut_ = false;
  std::atomic<bool> moved_ = false;
  std::atomic<uint64_t> sent_by_clients_ = 0;
  std::atomic<uint64_t> lost_ = 0;
  std::atomic<uint64_t> late_ = 0;
  std::thread thread_;
};

}  // namespace dragonfly::vortex
