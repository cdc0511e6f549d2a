// SPDX-License-Identifier: Apache-2.0
#include "tests/unit/vortex/lossy_relay.h"

#include <arpa/inet.h>
#include <netinet/in.h>
#include <poll.h>
#include <sys/socket.h>

#include <array>
#include <functional>
#include <map>
#include <random>
#include <stdexcept>
#include <string>
#include <vector>

namespace dragonfly::vortex {

namespace {

sockaddr_in Loopback(uint16_t port) {
  sockaddr_in address{};
  address.sin_family = AF_INET;
  address.sin_port = htons(port);
  address.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
  return address;
}

UniqueFd MakeSocket() {
  UniqueFd fd(::socket(AF_INET, SOCK_DGRAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0));
  const int buffer = 4 << 20;
  ::setsockopt(fd.get(), SOL_SOCKET, SO_RCVBUF, &buffer, sizeof(buffer));
  const sockaddr_in any = Loopback(0);
  if (::bind(fd.get(), reinterpret_cast<const sockaddr*>(&any), sizeof(any)) != 0) throw std::runtime_error("bind");
  return fd;
}

// One direction of one client.
struct Lane {
  std::string late;  // waits for the one behind it
};

struct Client {
  UniqueFd facing_server;
  Lane up;
  Lane down;
};

}  // namespace

LossyRelay::LossyRelay(uint16_t server_port, Weather weather)
    : server_port_(server_port), weather_(weather), facing_clients_(MakeSocket()) {
  sockaddr_in bound{};
  socklen_t size = sizeof(bound);
  ::getsockname(facing_clients_.get(), reinterpret_cast<sockaddr*>(&bound), &size);
  port_ = ntohs(bound.sin_port);
  thread_ = std::thread([this] { Run(); });
}

LossyRelay::~LossyRelay() {
  stop_ = true;
  thread_.join();
}

void LossyRelay::Run() {
  std::mt19937 random(7);
  const auto happens = [&random](int percent) { return static_cast<int>(random() % 100) < percent; };
  std::map<uint16_t, Client> clients;  // by the port of the client
  const sockaddr_in server = Loopback(server_port_);
  std::array<char, 65536> room;

  const auto pass = [&](Lane& lane, std::string datagram, const std::function<void(const std::string&)>& send) {
    if (cut_) return;
    if (happens(weather_.lost_percent)) {
      ++lost_;
      return;
    }
    if (lane.late.empty() && happens(weather_.late_percent)) {
      ++late_;
      lane.late = std::move(datagram);
      return;
    }
    send(datagram);
    if (happens(weather_.doubled_percent)) send(datagram);
    if (!lane.late.empty()) send(std::exchange(lane.late, std::string()));
  };

  while (!stop_) {
    if (moved_.exchange(false)) {
      for (auto& [port, client] : clients) client.facing_server = MakeSocket();
    }
    std::vector<pollfd> polled{{facing_clients_.get(), POLLIN, 0}};
    for (auto& [port, client] : clients) polled.push_back({client.facing_server.get(), POLLIN, 0});
    if (::poll(polled.data(), polled.size(), 20) <= 0) {
      // Nothing is behind what is late.
      continue;
    }
    sockaddr_in from{};
    for (;;) {
      socklen_t size = sizeof(from);
      const ssize_t n =
          ::recvfrom(facing_clients_.get(), room.data(), room.size(), 0, reinterpret_cast<sockaddr*>(&from), &size);
      if (n < 0) break;
      ++sent_by_clients_;
      Client& client = clients[from.sin_port];
      if (!client.facing_server.valid()) client.facing_server = MakeSocket();
      pass(client.up, std::string(room.data(), static_cast<size_t>(n)), [&](const std::string& datagram) {
        ::sendto(client.facing_server.get(), datagram.data(), datagram.size(), 0,
                 reinterpret_cast<const sockaddr*>(&server), sizeof(server));
      });
    }
    for (auto& [port, client] : clients) {
      const sockaddr_in to = Loopback(ntohs(port));
      for (;;) {
        const ssize_t n = ::recv(client.facing_server.get(), room.data(), room.size(), 0);
        if (n < 0) break;
        pass(client.down, std::string(room.data(), static_cast<size_t>(n)), [&](const std::string& datagram) {
          ::sendto(facing_clients_.get(), datagram.data(), datagram.size(), 0, reinterpret_cast<const sockaddr*>(&to),
                   sizeof(to));
        });
      }
    }
  }
}

}  // namespace dragonfly::vortex
