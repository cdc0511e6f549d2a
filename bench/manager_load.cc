// SPDX-License-Identifier: Apache-2.0
// Load on a manager's REST API: kept connections that list and search with a token, each its next request when the last
// is answered, beside others that sign in. Prints one JSON object: requests and sign-ins a second, p50 and p99 of a
// request in milliseconds, and how many were not answered with 200.
#include <arpa/inet.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <sys/socket.h>

#include <CLI/CLI.hpp>
#include <algorithm>
#include <atomic>
#include <chrono>
#include <cstdio>
#include <random>
#include <stdexcept>
#include <string>
#include <thread>
#include <vector>

#include "base/text.h"
#include "base/unique_fd.h"

namespace {

using Clock = std::chrono::steady_clock;

struct Settings {
  int port = 8080;
  std::string token;
  std::string password;
  int connections = 16;
  int sign_ins = 0;
  int seconds = 10;
  unsigned peers = 10'000;
  unsigned jobs = 100'000;
};

// One kept connection.
class Connection {
 public:
  explicit Connection(int port) : fd_(::socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0)) {
    const int on = 1;
    ::setsockopt(fd_.get(), IPPROTO_TCP, TCP_NODELAY, &on, sizeof on);
    sockaddr_in address{};
    address.sin_family = AF_INET;
    address.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
    address.sin_port = htons(static_cast<uint16_t>(port));
    if (::connect(fd_.get(), reinterpret_cast<const sockaddr*>(&address), sizeof address) != 0) {
      throw std::runtime_error("connect failed");
    }
  }

  // The status of the answer, which is read whole.
  int Call(const std::string& request) {
    if (::send(fd_.get(), request.data(), request.size(), MSG_NOSIGNAL) != static_cast<ssize_t>(request.size())) {
      throw std::runtime_error("send failed");
    }
    size_t wanted = std::string::npos;
    text_.clear();
    while (text_.size() < wanted) {
      char bytes[64 << 10];
      const ssize_t got = ::recv(fd_.get(), bytes, sizeof bytes, 0);
      if (got <= 0) throw std::runtime_error("the manager has closed the connection");
      text_.append(bytes, static_cast<size_t>(got));
      const size_t end = text_.find("\r\n\r\n");
      if (wanted != std::string::npos || end == std::string::npos) continue;
      const size_t length = text_.find("Content-Length: ");
      wanted = end + 4 + (length < end ? std::stoul(text_.substr(length + 16)) : 0);
    }
    return std::stoi(text_.substr(9, 3));
  }

 private:
  dragonfly::UniqueFd fd_;
  std::string text_;
};

// What a console and its users ask for: pages of the lists, and searches.
std::string NextTarget(const Settings& settings, std::minstd_rand& random) {
  const auto number = [&](unsigned below) { return std::to_string(1 + random() % below); };
  switch (random() % 5) {
    case 0:
      return "/api/v1/peers?page=" + number(50) + "&per_page=10";
    case 1:
      return "/api/v1/peers?host_name=host-" + number(settings.peers);
    case 2:
      return "/api/v1/jobs?type=preheat&page=" + number(50) + "&per_page=10";
    case 3:
      return "/api/v1/jobs/" + number(settings.jobs);
    default:
      return "/api/v1/clusters?page=1&per_page=10";
  }
}

double Percentile(const std::vector<double>& sorted, double part) {
  if (sorted.empty()) return 0;
  return sorted[std::min(sorted.size() - 1, static_cast<size_t>(part * static_cast<double>(sorted.size())))];
}

void Run(const Settings& settings) {
  const auto end = Clock::now() + std::chrono::seconds(settings.seconds);
  std::atomic<int> failed = 0, signed_in = 0;
  std::vector<std::vector<double>> times(static_cast<size_t>(settings.connections));
  std::vector<std::thread> threads;
  for (int i = 0; i < settings.connections; ++i) {
    threads.emplace_back([&, i] {
      Connection connection(settings.port);
      std::minstd_rand random(static_cast<unsigned>(i) + 1);
      while (Clock::now() < end) {
        const std::string request = "GET " + NextTarget(settings, random) +
                                    " HTTP/1.1\r\nHost: m\r\nAuthorization: Bearer " + settings.token + "\r\n\r\n";
        const auto begun = Clock::now();
        if (connection.Call(request) != 200) ++failed;
        times[static_cast<size_t>(i)].push_back(
            std::chrono::duration<double, std::milli>(Clock::now() - begun).count());
      }
    });
  }
  for (int i = 0; i < settings.sign_ins; ++i) {
    threads.emplace_back([&] {
      Connection connection(settings.port);
      const std::string body = R"({"name":"root","password":")" + settings.password + "\"}";
      const std::string request =
          "POST /api/v1/users/signin HTTP/1.1\r\nHost: m\r\nContent-Length: " + std::to_string(body.size()) +
          "\r\n\r\n" + body;
      while (Clock::now() < end) ++(connection.Call(request) == 200 ? signed_in : failed);
    });
  }
  for (std::thread& thread : threads) thread.join();
  std::vector<double> all;
  for (const auto& some : times) all.insert(all.end(), some.begin(), some.end());
  std::sort(all.begin(), all.end());
  std::printf(
      "{\"requests_per_s\": %.0f, \"p50_ms\": %.2f, \"p99_ms\": %.2f, \"sign_ins_per_s\": %.1f, \"failed\": %d}\n",
      static_cast<double>(all.size()) / settings.seconds, Percentile(all, 0.5), Percentile(all, 0.99),
      static_cast<double>(signed_in) / settings.seconds, failed.load());
}

}  // namespace

int main(int argc, char** argv) {
  Settings settings;
  CLI::App app("Load on the REST API of a manager", "manager_load");
  app.add_option("--port", settings.port);
  app.add_option("--token", settings.token)->required();
  app.add_option("--password", settings.password);
  app.add_option("--connections", settings.connections);
  app.add_option("--sign-ins", settings.sign_ins);
  app.add_option("--seconds", settings.seconds);
  CLI11_PARSE(app, argc, argv);
  try {
    Run(settings);
  } catch (const std::exception& error) {
    std::fprintf(stderr, "manager_load: %s\n", error.what());
    return 1;
  }
  return 0;
}
