// SPDX-License-Identifier: Apache-2.0
// A TCP server that answers exactly the bytes a test says: the origin that lies, stalls and breaks off.
#pragma once

#include <condition_variable>
#include <cstdint>
#include <functional>
#include <list>
#include <mutex>
#include <string>
#include <string_view>
#include <thread>
#include <vector>

#include "base/unique_fd.h"

namespace dragonfly::testing {

class ScriptedServer {
 public:
  // The server's end of one connection.
  class Connection {
   public:
    explicit Connection(int fd) : fd_(fd) {}
    // All of `bytes`; false when the client has gone.
    bool Send(std::string_view bytes);
    // Ends the connection in order (FIN) when the script returns.
    void Close() { closing_ = true; }
    // Cuts it (RST).
    void Reset();
    // Blocks until the client has closed its end, or the server stops.
    void AwaitClientGone();
    bool closing() const { return closing_; }

   private:
    int fd_;
    bool closing_ = false;
  };
  // Runs on a thread of the connection for each request, whose head is given whole ("GET /x HTTP/1.1\r\n...\r\n\r\n").
  // `number` counts the server's requests from 0. The connection is kept for the next request unless closed.
  using Script = std::function<void(Connection& connection, const std::string& request, int number)>;

  explicit ScriptedServer(Script script);
  // Answers request N with answers[N], the last one again and again, and closes.
  explicit ScriptedServer(std::vector<std::string> answers);
  ~ScriptedServer();
  ScriptedServer(const ScriptedServer&) = delete;
  ScriptedServer& operator=(const ScriptedServer&) = delete;

  uint16_t port() const { return port_; }
  std::string Url(const std::string& path = "/file") const;
  // Heads of the requests so far.
  std::vector<std::string> requests() const;
  int connections() const;

 private:
  void Accept();
  void Serve(int fd);

  Script script_;
  UniqueFd listener_;
  uint16_t port_ = 0;
  mutable std::mutex mutex_;
  bool stopping_ = false;
  int accepted_ = 0;
  std::vector<std::string> requests_;
  std::list<UniqueFd> sockets_;
  std::vector<std::thread> threads_;
  std::thread acceptor_;
};

// The value of header `name` (any case) in a request's head; empty when it is not there.
std::string HeaderOf(const std::string& request, std::string_view name);

}  // namespace dragonfly::testing
