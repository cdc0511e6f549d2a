// SPDX-License-Identifier: Apache-2.0
// Serves pieces over QUIC (RFC 9000): one bidirectional stream for each request and its answer, in the packets of TCP.
#pragma once

#include <boost/asio/awaitable.hpp>
#include <chrono>
#include <cstddef>
#include <cstdint>
#include <memory>
#include <string>

#include "absl/status/statusor.h"
#include "runtime/clock.h"
#include "runtime/io_threads.h"
#include "runtime/token_bucket.h"
#include "vortex/answer.h"

namespace dragonfly::vortex {

struct QuicServerOptions {
  QuicServerOptions() = default;
  std::string ip = "0.0.0.0";
  uint16_t port = 4006;                                  // 0: any
  size_t connections_max = 4096;                         // more are refused
  size_t handshakes_max = 1024;                          // under way at a time; first packets beyond are dropped
  size_t retry_above = 128;                              // handshakes from which on addresses are validated first
  size_t streams_max = 100;                              // requests of one connection at a time
  size_t send_memory = 256 << 20;                        // bytes on their way, of all connections
  std::chrono::milliseconds handshake_timeout{10'000};   // from the first packet to the end of the handshake
  std::chrono::milliseconds silence_timeout{60'000};     // of a connection without a datagram
  std::chrono::milliseconds first_byte_timeout{10'000};  // from the opening of a stream to its whole request
  std::chrono::milliseconds idle_timeout{600'000};       // of a connection that is kept alive without requests
  std::chrono::milliseconds piece_wait_timeout{30'000};  // for a piece that is being written
  std::chrono::milliseconds stall_timeout{60'000};       // without a byte acknowledged
};

// One UDP socket for each io thread, all at one port; a connection, and all that it asks for, stays on its thread.
// Thread-safe.
class QuicServer {
 public:
  // Binds and serves. `limiter` (upload bandwidth) and `provider` must outlive the server. Errors: of bind; of the TLS
  // library.
  static absl::StatusOr<std::unique_ptr<QuicServer>> Start(const QuicServerOptions& options, runtime::IoThreads& io,
                                                           PieceProvider& provider, runtime::TokenBucket& limiter);
  // Stop() must have completed.
  ~QuicServer();
  uint16_t port() const;
  size_t connections() const;
  // Takes no more connections and requests, lets running transfers finish until `deadline`, then cuts them; tells the
  // peers that their connections are closed.
  boost::asio::awaitable<void> Stop(TimePoint deadline);

 private:
  struct State;
  explicit QuicServer(std::shared_ptr<State> state);
  std::shared_ptr<State> state_;
};

}  // namespace dragonfly::vortex
