// SPDX-License-Identifier: Apache-2.0
// Serves pieces over TCP.
#pragma once

#include <boost/asio/awaitable.hpp>
#include <cstdint>
#include <memory>
#include <string>

#include "absl/status/statusor.h"
#include "runtime/clock.h"
#include "runtime/io_threads.h"
#include "runtime/token_bucket.h"
#include "vortex/answer.h"

namespace dragonfly::vortex {

struct ServerOptions {
  ServerOptions() = default;
  std::string ip = "0.0.0.0";
  uint16_t port = 4005;                                  // 0: any
  bool fast_open = false;                                // RFC 7413, where net.ipv4.tcp_fastopen lets servers
  size_t connections_max = 4096;                         // more are refused
  std::chrono::milliseconds first_byte_timeout{10'000};  // from accept to a whole request
  std::chrono::milliseconds idle_timeout{120'000};       // between requests of one connection
  std::chrono::milliseconds piece_wait_timeout{30'000};  // for a piece that is being written
  std::chrono::milliseconds stall_timeout{60'000};       // without a byte accepted by the peer
};

// One listener, one coroutine a connection; a connection stays on the io thread that it was given to (the one with the
// fewest) and serves one request after another until the peer closes. Bytes leave by sendfile(2). Thread-safe.
class Server {
 public:
  // Binds and serves. `limiter` (upload bandwidth) and `provider` must outlive the server. SIGPIPE is ignored from here
  // on, unless the program has a handler for it. Errors: of bind.
  static absl::StatusOr<std::unique_ptr<Server>> Start(const ServerOptions& options, runtime::IoThreads& io,
                                                       PieceProvider& provider, runtime::TokenBucket& limiter);
  // Stop() must have completed.
  ~Server();
  uint16_t port() const;
  size_t connections() const;
  // Closes the listener and the connections that wait for a request, lets running transfers finish until `deadline`,
  // then cuts them.
  boost::asio::awaitable<void> Stop(TimePoint deadline);

 private:
  struct State;
  explicit Server(std::shared_ptr<State> state);
  std::shared_ptr<State> state_;
};

}  // namespace dragonfly::vortex
