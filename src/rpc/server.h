// SPDX-License-Identifier: Apache-2.0
// A gRPC server that obeys the rules of the wire: deadlines of clients are not enforced on streams, messages may be as
// large as a piece where the method needs it, keep-alive pings are tolerated, health and reflection are served.
#pragma once

#include <chrono>
#include <cstdint>
#include <functional>
#include <memory>
#include <string>
#include <vector>

#include "absl/status/statusor.h"
#include "runtime/clock.h"
#include "telemetry/trace.h"

namespace dragonfly::telemetry {
class Metrics;
}

namespace google::protobuf {
class Message;
}

namespace grpc {
class Service;
}

namespace dragonfly::rpc {

// PEM files of mutual TLS; all three or none. Changed files are read again without a restart: connections that are made
// later use them.
struct TlsFiles {
  TlsFiles() = default;
  std::string ca_cert;
  std::string cert;
  std::string key;
  std::string section;                       // where a configuration names them, for messages: "upload.server"
  std::chrono::seconds reload_interval{30};  // at least 1 s
  bool enabled() const { return !ca_cert.empty() || !cert.empty() || !key.empty(); }
};

// Tells a span of the call that `message` begins: which task, which peer. Any thread.
using DescribeCall = std::function<void(const google::protobuf::Message& message, telemetry::Span& span)>;

struct ServerOptions {
  ServerOptions() = default;
  // "10.0.0.1:4000", "[::]:4000", "0.0.0.0:0" (any port), "unix:/run/dfdaemon.sock". The directory of a unix socket is
  // made; a socket file that no live process serves is removed, one that is served is an error.
  std::vector<std::string> addresses;
  TlsFiles tls;                          // not for unix sockets
  std::vector<grpc::Service*> services;  // must outlive the server
  int receive_message_max = 16 << 20;    // bytes
  unsigned unix_socket_mode = 0660;
  bool reflection = true;
  telemetry::Tracer* tracer = nullptr;  // a span for each call; must outlive the server
  DescribeCall describe_call;
  telemetry::Metrics* metrics = nullptr;  // gets grpc_server_* of each call; must outlive the server
};

class Server {
 public:
  // Health: "" is SERVING from the start; other names as set by SetServing().
  // Errors: UNAVAILABLE naming the address that cannot be bound; INVALID_ARGUMENT naming the TLS file.
  static absl::StatusOr<std::unique_ptr<Server>> Start(const ServerOptions& options);
  // Shutdown() must have returned.
  ~Server();

  // Port bound for addresses[index]; 0 for a unix socket.
  int port(size_t index = 0) const;
  // Health status of `service` ("dfdaemon.v2.DfdaemonUpload").
  void SetServing(const std::string& service, bool serving);
  // Health turns NOT_SERVING, no new call is taken, running calls may end until `deadline` and are cancelled then.
  // Blocks; removes the unix socket. Also without running calls it may last up to 20 s, or until `deadline`, when a
  // connected client does not answer the ping that gRPC sends before it closes.
  void Shutdown(TimePoint deadline);

 private:
  struct State;
  explicit Server(std::unique_ptr<State> state);
  std::unique_ptr<State> state_;
};

}  // namespace dragonfly::rpc
