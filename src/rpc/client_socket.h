// SPDX-License-Identifier: Apache-2.0
// The bytes below a UnixClient: a socket, or TLS over one.
#pragma once

#include <cstddef>
#include <cstdint>
#include <memory>
#include <optional>
#include <span>
#include <string>
#include <string_view>

#include "absl/status/statusor.h"
#include "base/unique_fd.h"

namespace dragonfly::rpc {

// A connection that does not block. Thread rule: one thread.
class ClientSocket {
 public:
  virtual ~ClientSocket() = default;
  // To wait for, when the calls below say so.
  virtual int fd() const = 0;
  // How many bytes were taken; 0: the socket must become writable first. After that the same bytes come again. Errors:
  // why the connection is lost.
  virtual absl::StatusOr<size_t> Send(std::string_view bytes) = 0;
  // How many bytes have come, 0 at the end; nullopt: the socket must become readable first. Errors: as Send().
  virtual absl::StatusOr<std::optional<size_t>> Receive(std::span<uint8_t> bytes) = 0;
};

// The plain socket.
std::unique_ptr<ClientSocket> MakePlainSocket(UniqueFd fd);

// A connection to the Unix socket at `path` that does not block. Errors: UNAVAILABLE naming it; also when its server
// does not accept within two seconds.
absl::StatusOr<UniqueFd> ConnectUnixSocket(const std::string& path);

// A TCP connection that does not block; `host` is a name or an address, IPv6 without brackets. Tries each address of a
// name for at most two seconds. Errors: UNAVAILABLE naming host and port.
absl::StatusOr<UniqueFd> ConnectTcpSocket(const std::string& host, int port);

// "host:port", with brackets around an IPv6 address.
std::string NameOf(const std::string& host, int port);

}  // namespace dragonfly::rpc
