// SPDX-License-Identifier: Apache-2.0
// A small HTTP/1.1 server for metrics, health, profiles and status pages; router.h tells its paths apart.
#pragma once

#include <boost/asio/awaitable.hpp>
#include <chrono>
#include <cstddef>
#include <cstdint>
#include <functional>
#include <memory>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include "absl/status/statusor.h"
#include "runtime/io_threads.h"

namespace dragonfly::http {

struct Request {
  std::string method;  // GET for a HEAD request: the server leaves the body out of the answer
  std::string target;  // path and query
  std::vector<std::pair<std::string, std::string>> header;  // names in lower case, in order
  std::string body;
  std::string client;  // the address that the connection comes from; empty when it has gone already
  bool tls = false;    // the connection is encrypted

  // The first header of that name (lower case); empty when there is none.
  std::string_view Find(std::string_view name) const;
};

struct Response {
  Response() = default;
  int status = 200;
  std::string content_type = "text/plain; charset=utf-8";
  std::vector<std::pair<std::string, std::string>> header;  // further ones
  std::string body;
};

// PEM files. Changed files are read again without a restart: connections that are made later use them, and a pair that
// cannot be used leaves the former one in place.
struct ServerTls {
  ServerTls() = default;
  std::string cert;  // with its chain
  std::string key;
  std::string client_ca;  // not empty: only clients with a certificate of this authority are served
  bool enabled() const { return !cert.empty() || !key.empty() || !client_ca.empty(); }
};

struct ServerOptions {
  ServerOptions() = default;
  ServerTls tls;  // plaintext without
  std::string ip = "0.0.0.0";
  uint16_t port = 0;               // 0: any
  size_t body_max = 1 << 20;       // bytes of a request body; 413 above
  uint32_t header_max = 64 << 10;  // bytes of request line and headers; 431 above
  size_t connections_max = 1024;   // further ones are closed at once
  // A request must have arrived, and its answer must have been taken, within this; also how long a kept connection may
  // say nothing.
  std::chrono::milliseconds idle_timeout{60'000};
};

// Keep-alive, one coroutine a connection, all on one thread of `io`. `handle` runs there and must not block; an
// exception that leaves it is answered with 500. What is not HTTP/1.x is answered with 400 and the connection closed.
class Server {
 public:
  using Handler = std::function<boost::asio::awaitable<Response>(Request)>;

  // Errors: INVALID_ARGUMENT for a bad address or a TLS file that cannot be used, those of bind() and listen()
  // (base/status.h) with address and port.
  static absl::StatusOr<std::unique_ptr<Server>> Start(const ServerOptions& options, runtime::IoThreads& io,
                                                       Handler handle);
  // Stop() must have completed.
  ~Server();
  Server(const Server&) = delete;
  Server& operator=(const Server&) = delete;

  uint16_t port() const;
  // Stops accepting, cuts the connections, and completes when all have ended.
  boost::asio::awaitable<void> Stop();

 private:
  struct State;
  explicit Server(std::shared_ptr<State> state);
  std::shared_ptr<State> state_;
};

}  // namespace dragonfly::http
