// SPDX-License-Identifier: Apache-2.0
// A small HTTP/1.1 server for metrics and health.
#pragma once

#include <boost/asio/awaitable.hpp>
#include <chrono>
#include <cstdint>
#include <functional>
#include <memory>
#include <string>

#include "absl/status/statusor.h"
#include "runtime/io_threads.h"

namespace dragonfly::http {

struct Request {
  std::string method;
  std::string target;  // path and query
  std::string body;
};

struct Response {
  Response() = default;
  int status = 200;
  std::string content_type = "text/plain; charset=utf-8";
  std::string body;
};

struct ServerOptions {
  ServerOptions() = default;
  std::string ip = "0.0.0.0";
  uint16_t port = 0;  // 0: any
  size_t body_max = 1 << 20;   // bytes of a request body
  size_t header_max = 64 << 10;
  std::chrono::milliseconds idle_timeout{60'000};
};

// Keep-alive, one coroutine a connection. `handle` runs on the connection's thread and must not block.
class Server {
 public:
  using Handler = std::function<boost::asio::awaitable<Response>(Request)>;
  static absl::StatusOr<std::unique_ptr<Server>> Start(const ServerOptions& options, runtime::IoThreads& io,
                                                       Handler handle);
  ~Server();
  uint16_t port() const;
  boost::asio::awaitable<void> Stop();

 private:
  struct State;
  explicit Server(std::shared_ptr<State> state);
  std::shared_ptr<State> state_;
};

}  // namespace dragonfly::http
