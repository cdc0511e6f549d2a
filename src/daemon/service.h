// SPDX-License-Identifier: Apache-2.0
// A gRPC service of the daemon together with the coroutines that answer its calls.
#pragma once

#include <boost/asio/awaitable.hpp>
#include <memory>

namespace grpc {
class Service;
}

namespace dragonfly::daemon {

// Life: made, handed to a rpc::Server, the server shut down, Stop() awaited, destroyed.
class Service {
 public:
  virtual ~Service() = default;
  // For rpc::ServerOptions::services.
  virtual grpc::Service* grpc() = 0;
  // Cancels the handlers that still run and waits for their end.
  virtual boost::asio::awaitable<void> Stop() = 0;
};

}  // namespace dragonfly::daemon
