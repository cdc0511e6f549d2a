// SPDX-License-Identifier: Apache-2.0
// One connection to one server; the bytes of the protocol are hiredis's business. Internal to redis.
#pragma once

#include <memory>
#include <string>
#include <vector>

#include "absl/status/statusor.h"
#include "absl/time/time.h"
#include "redis/options.h"
#include "redis/reply.h"
#include "redis/tls.h"

namespace dragonfly::redis {

using Command = std::vector<std::string>;

// Blocks the caller, never beyond the deadline that it names. One thread at a time.
class Connection {
 public:
  // Connects, with TLS when `tls` is not null. Errors: UNAVAILABLE naming the address; DEADLINE_EXCEEDED.
  static absl::StatusOr<std::unique_ptr<Connection>> Open(const std::string& address, const TlsContext& tls,
                                                          absl::Time deadline);
  ~Connection();
  Connection(const Connection&) = delete;
  Connection& operator=(const Connection&) = delete;

  // Sends the commands at once and reads a reply for each; what the server refuses is a status in its place.
  // Errors, after which the connection is of no use any more: UNAVAILABLE, DEADLINE_EXCEEDED, INTERNAL when what comes
  // is not the protocol.
  absl::StatusOr<std::vector<absl::StatusOr<Reply>>> Run(const std::vector<Command>& commands, absl::Time deadline);

  const std::string& address() const;

 private:
  struct State;
  explicit Connection(std::unique_ptr<State> state);
  std::unique_ptr<State> state_;
};

}  // namespace dragonfly::redis
