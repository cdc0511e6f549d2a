// SPDX-License-Identifier: Apache-2.0
#include "tests/support/scripted_server.h"

#include <netinet/in.h>
#include <netinet/tcp.h>
#include <sys/socket.h>
#include <unistd.h>

#include <algorithm>
#include <array>
#include <memory>
#include <stdexcept>
#include <utility>

#include "base/text.h"
#include "tests/support/loopback.h"

namespace dragonfly::testing {

bool ScriptedServer::Connection::Send(std::string_view bytes) {
  while (!bytes.empty()) {
    const ssize_t sent = ::send(fd_, bytes.data(), bytes.size(), MSG_NOSIGNAL);
    if (sent <= 0) return false;
    bytes.remove_prefix(static_cast<size_t>(sent));
  }
  return true;
}

void ScriptedServer::Connection::Reset() {
  const linger at_once{1, 0};
  ::setsockopt(fd_, SOL_SOCKET, SO_LINGER, &at_once, sizeof at_once);
  closing_ = true;
}

void ScriptedServer::Connection::AwaitClientGone() {
  std::array<char, 4096> ignored;
  while (::recv(fd_, ignored.data(), ignored.size(), 0) > 0) {
  }
  closing_ = true;
}

ScriptedServer::ScriptedServer(Script script) : script_(std::move(script)) {
  BoundSocket bound = BindOnLoopback(SOCK_CLOEXEC);
  if (::listen(bound.fd.get(), 64) != 0) throw std::runtime_error("cannot listen on loopback");
  port_ = bound.port;
  listener_ = std::move(bound.fd);
  acceptor_ = std::thread([this] { Accept(); });
}

ScriptedServer::ScriptedServer(std::vector<std::string> answers)
    : ScriptedServer([answers = std::move(answers)](Connection& connection, const std::string&, int number) {
        connection.Send(answers[std::min(static_cast<size_t>(number), answers.size() - 1)]);
        connection.Close();
      }) {}

ScriptedServer::~ScriptedServer() {
  {
    const std::lock_guard lock(mutex_);
    stopping_ = true;
    for (const UniqueFd& socket : sockets_) ::shutdown(socket.get(), SHUT_RDWR);
  }
  ::shutdown(listener_.get(), SHUT_RDWR);  // wakes accept()
  acceptor_.join();
  for (std::thread& thread : threads_) thread.join();
}

std::string ScriptedServer::Url(const std::string& path) const {
  return "http://127.0.0.1:" + std::to_string(port_) + path;
}

std::vector<std::string> ScriptedServer::requests() const {
  const std::lock_guard lock(mutex_);
  return requests_;
}

int ScriptedServer::connections() const {
  const std::lock_guard lock(mutex_);
  return accepted_;
}

void ScriptedServer::Accept() {
  for (;;) {
    UniqueFd socket(::accept4(listener_.get(), nullptr, nullptr, SOCK_CLOEXEC));
    const int on = 1;
    ::setsockopt(socket.get(), IPPROTO_TCP, TCP_NODELAY, &on, sizeof(on));  // heads and bodies go as they are sent
    const std::lock_guard lock(mutex_);
    if (!socket.valid() || stopping_) return;
    ++accepted_;
    sockets_.push_back(std::move(socket));
    threads_.emplace_back([this, fd = sockets_.back().get()] { Serve(fd); });
  }
}

void ScriptedServer::Serve(int fd) {
  Connection connection(fd);
  std::string pending;
  while (!connection.closing()) {
    const size_t end = pending.find("\r\n\r\n");
    if (end == pending.npos) {
      std::array<char, 16384> bytes;
      const ssize_t got = ::recv(fd, bytes.data(), bytes.size(), 0);
      if (got <= 0) break;
      pending.append(bytes.data(), static_cast<size_t>(got));
      continue;
    }
    const std::string request = pending.substr(0, end + 4);
    pending.erase(0, end + 4);
    int number = 0;
    {
      const std::lock_guard lock(mutex_);
      number = static_cast<int>(requests_.size());
      requests_.push_back(request);
    }
    script_(connection, request, number);
  }
  if (connection.closing()) {
    // What the client has sent and nobody has read would turn the close into a reset, which takes the answer with it.
    ::shutdown(fd, SHUT_WR);
    connection.AwaitClientGone();
  }
  const std::lock_guard lock(mutex_);
  std::erase_if(sockets_, [fd](const UniqueFd& socket) { return socket.get() == fd; });
}

std::string HeaderOf(const std::string& request, std::string_view name) {
  for (size_t at = request.find("\r\n"); at != request.npos && at + 2 < request.size();) {
    const size_t end = request.find("\r\n", at + 2);
    const std::string line = request.substr(at + 2, end - at - 2);
    const size_t colon = line.find(':');
    if (colon != line.npos && EqualsIgnoreCase(line.substr(0, colon), name)) {
      return std::string(TrimSpace(std::string_view(line).substr(colon + 1)));
    }
    at = end;
  }
  return "";
}

}  // namespace dragonfly::testing
