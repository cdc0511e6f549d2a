// SPDX-License-Identifier: Apache-2.0
// The proxy of a daemon: one port for proxy requests, CONNECT, and requests to the registry mirror. See docs/proxy.md.
#pragma once

#include <boost/asio/awaitable.hpp>
#include <cstddef>
#include <cstdint>
#include <memory>
#include <string>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "daemon/call_gate.h"
#include "daemon/config.h"
#include "daemon/task_manager.h"
#include "runtime/clock.h"
#include "runtime/io_threads.h"

namespace dragonfly::daemon::proxy {

// One coroutine accepts; each connection is served by one of its own, on the io thread that has the fewest.
class Server {
 public:
  struct Options {
    Options() = default;
    size_t connections_max = 16'384;  // further ones are closed at once
    std::string authority_dir;        // where an authority of its own is kept
  };

  // Serves at config.proxy.server. Everything must outlive the server; `gate` is asked for its block list only. Errors:
  // INVALID_ARGUMENT naming the key; those of bind(2) and listen(2) with address and port. An authority that cannot be
  // made is no error: tunnels are then passed through unopened.
  static absl::StatusOr<std::unique_ptr<Server>> Start(const DaemonConfig& config, Options options,
                                                       runtime::IoThreads& io, TaskManager& tasks,
                                                       const CallGate& gate);
  // Stop() must have completed.
  ~Server();
  Server(const Server&) = delete;
  Server& operator=(const Server&) = delete;

  uint16_t port() const;
  size_t connections() const;

  // Takes no new connection, closes those between two requests, lets answers end until `deadline` and cuts the rest.
  boost::asio::awaitable<void> Stop(TimePoint deadline);

 private:
  struct State;
  explicit Server(std::shared_ptr<State> state);
  std::shared_ptr<State> state_;
};

}  // namespace dragonfly::daemon::proxy
