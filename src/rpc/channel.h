// SPDX-License-Identifier: Apache-2.0
// Client connections: one kept channel per address.
#pragma once

#include <chrono>
#include <memory>
#include <string>

#include "absl/status/statusor.h"
#include "rpc/server.h"

namespace grpc {
class Channel;
}

namespace dragonfly::rpc {

struct ChannelOptions {
  ChannelOptions() = default;
  TlsFiles tls;  // not for unix sockets; names and addresses of servers must stand in their certificates
  std::chrono::milliseconds connect_timeout{2'000};
  std::chrono::milliseconds idle_timeout{420'000};  // a channel without calls is dropped from the pool after that
};

// Thread-safe.
class ChannelPool {
 public:
  explicit ChannelPool(ChannelOptions options);
  ~ChannelPool();
  // The channel to `address` ("10.0.0.1:8002", "[::1]:8002", "unix:/path"), made when missing; does not connect by
  // itself. Messages are unlimited both ways; windows are large (or grow) so that a piece per message is quick. With
  // TLS files that cannot be read, the calls of the channel fail with the reason, and the next Get() tries again.
  std::shared_ptr<grpc::Channel> Get(const std::string& address);
  // Forgets the channel, so that the next Get() makes a new one.
  void Drop(const std::string& address);
  size_t size() const;
  // From here on new channels have a span for each call, under what rpc::SendTrace() was given. `tracer` must outlive
  // the channels.
  void UseTracer(telemetry::Tracer* tracer);
  // From here on the calls of new channels count as grpc_client_*. `metrics` must outlive the channels.
  void UseMetrics(telemetry::Metrics* metrics);

 private:
  struct State;
  std::unique_ptr<State> state_;
};

// "ip:port", with brackets around an IPv6 literal.
std::string HostPort(const std::string& ip, int port);

}  // namespace dragonfly::rpc
