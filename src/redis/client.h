// SPDX-License-Identifier: Apache-2.0
// Commands and scripts to a Redis: one server, the master that sentinels name, or the nodes of a cluster. Lost
// connections are made again.
#pragma once

#include <memory>
#include <string>
#include <vector>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "redis/options.h"
#include "redis/reply.h"
#include "redis/script.h"

namespace dragonfly::redis {

// The command's name and its arguments; any bytes.
using Command = std::vector<std::string>;

// Every call blocks, at most as long as the options' times together: coroutines run it on a runtime::BlockingPool.
// Thread-safe; as many calls run at once as the pool has connections.
//
// A command that is lost with a connection that had been idle is sent once more, on a new one.
class Client {
 public:
  // Connects at the first command. Errors: INVALID_ARGUMENT for options that contradict each other or TLS files that
  // cannot be used.
  static absl::StatusOr<std::unique_ptr<Client>> Make(Options options);
  ~Client();
  Client(const Client&) = delete;
  Client& operator=(const Client&) = delete;

  // Errors: the server's (see ErrorOf); UNAVAILABLE when no server can be reached; DEADLINE_EXCEEDED;
  // RESOURCE_EXHAUSTED when no connection came free in time. A message names the server and the command, never the
  // arguments.
  absl::StatusOr<Reply> Run(Command command);
  // One round trip for all of them. The first error of any ends it; what was done before stays done. In a cluster they
  // go one by one, each to its node.
  absl::StatusOr<std::vector<Reply>> RunAll(const std::vector<Command>& commands);
  // EVALSHA; the text is sent only to a server that does not have it.
  absl::StatusOr<Reply> RunScript(const Script& script, const std::vector<std::string>& keys,
                                  const std::vector<std::string>& arguments);

 private:
  struct State;
  explicit Client(std::unique_ptr<State> state);
  std::unique_ptr<State> state_;
};

}  // namespace dragonfly::redis
