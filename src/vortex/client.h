// SPDX-License-Identifier: Apache-2.0
// Fetches pieces over TCP, on connections that are kept for the next piece where the parent keeps them open.
#pragma once

#include <boost/asio/awaitable.hpp>
#include <boost/asio/io_context.hpp>
#include <cstdint>
#include <memory>

#include "absl/status/statusor.h"
#include "base/byte_sink.h"
#include "runtime/clock.h"
#include "runtime/token_bucket.h"
#include "vortex/fetch.h"

namespace dragonfly::vortex {

// One client per io thread: all methods, the destructor too, run on the thread of its io_context.
class Client {
 public:
  struct Options {
    Options() = default;
    std::chrono::milliseconds connect_timeout{2'000};
    std::chrono::milliseconds idle_timeout{60'000};  // a kept connection is closed after that
    size_t idle_per_endpoint = 32;
  };
  // `limiter` (download bandwidth) must outlive the client.
  Client(boost::asio::io_context& io, runtime::TokenBucket& limiter, Options options);
  ~Client();

  // Asks `endpoint` for one piece and streams its bytes into `sink`, exactly expected.length of them. Returns the
  // metadata that the parent sent; the caller compares the digest (PieceWriter::Commit does). After an error some of
  // the bytes may be in the sink. Errors: NOT_FOUND and INTERNAL as the parent said ("vortex protocol status:
  // code=NotFound, message=..."); DATA_LOSS when the parent's number, offset or length are not the expected ones, or
  // what it sends is not the protocol; UNAVAILABLE when it cannot be reached or ends early; DEADLINE_EXCEEDED when it
  // goes silent; what the sink returned; INVALID_ARGUMENT for a task id that a request cannot carry. Cancellation
  // closes the connection.
  boost::asio::awaitable<absl::StatusOr<ContentMetadata>> Fetch(Endpoint endpoint, FetchRequest request,
                                                                ByteSink& sink);

  // Closes the idle connections.
  void CloseIdle();
  size_t idle_connections() const;

 private:
  struct State;
  std::shared_ptr<State> state_;
};

}  // namespace dragonfly::vortex
