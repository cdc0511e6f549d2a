// SPDX-License-Identifier: Apache-2.0
// Fetches pieces over QUIC: one connection to each parent, one stream for each piece, as many at a time as the parent
// allows.
#pragma once

#include <boost/asio/awaitable.hpp>
#include <boost/asio/io_context.hpp>
#include <chrono>
#include <cstddef>
#include <cstdint>
#include <memory>

#include "absl/status/statusor.h"
#include "base/byte_sink.h"
#include "runtime/token_bucket.h"
#include "vortex/fetch.h"

namespace dragonfly::vortex {

// One client per io thread: all methods, the destructor too, run on the thread of its io_context.
class QuicClient {
 public:
  struct Options {
    Options() = default;
    std::chrono::milliseconds connect_timeout{2'000};
    std::chrono::milliseconds idle_timeout{60'000};     // a connection without a fetch is closed after that
    std::chrono::milliseconds silence_timeout{60'000};  // a connection without a datagram from the parent is given up
    std::chrono::milliseconds keep_alive{3'000};
    uint64_t stream_window = 16 << 20;      // bytes of one piece on their way and not yet in the sink
    uint64_t connection_window = 16 << 20;  // the same of all pieces of one parent
  };
  // `limiter` (download bandwidth) must outlive the client.
  QuicClient(boost::asio::io_context& io, runtime::TokenBucket& limiter, Options options);
  // Closes the connections.
  ~QuicClient();
  QuicClient(const QuicClient&) = delete;
  QuicClient& operator=(const QuicClient&) = delete;

  // Asks `endpoint` for one piece and streams its bytes into `sink`, exactly expected.length of them. Returns the
  // metadata that the parent sent, and the errors, as vortex::Client::Fetch; UNAVAILABLE also when the handshake fails.
  // Cancellation ends the stream; the connection stays for others.
  boost::asio::awaitable<absl::StatusOr<ContentMetadata>> Fetch(Endpoint endpoint, FetchRequest request,
                                                                ByteSink& sink);

  // Closes the connections that carry no fetch.
  void CloseIdle();
  size_t connections() const;

 private:
  struct State;
  std::shared_ptr<State> state_;
};

}  // namespace dragonfly::vortex
