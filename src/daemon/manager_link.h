// SPDX-License-Identifier: Apache-2.0
// The connection to the manager of the site.
#pragma once

#include <memory>
#include <string>
#include <string_view>

#include "absl/status/statusor.h"
#include "rpc/channel.h"
#include "rpc/server.h"

namespace grpc {
class Channel;
}

namespace dragonfly::daemon {

// manager.addr, a URL.
struct ManagerAddress {
  bool tls = false;    // https
  std::string target;  // "host:port"
};

// Errors: INVALID_ARGUMENT naming manager.addr and the reason.
absl::StatusOr<ManagerAddress> ParseManagerAddress(std::string_view addr);

// Thread-safe.
class ManagerLink {
 public:
  // The scheme of `addr` decides: https wants all of `tls`, http leaves it aside. Errors: INVALID_ARGUMENT naming the
  // key or the file that is wrong.
  static absl::StatusOr<std::unique_ptr<ManagerLink>> Make(const std::string& addr, rpc::TlsFiles tls);

  // As configured, for messages.
  const std::string& addr() const { return addr_; }
  std::shared_ptr<grpc::Channel> Channel() { return channels_.Get(address_.target); }
  // As rpc::ChannelPool's; before the first Channel().
  void UseTracer(telemetry::Tracer* tracer) { channels_.UseTracer(tracer); }
  // For rpc::DiagnoseTls().
  const std::string& target() const { return address_.target; }
  const rpc::TlsFiles& tls() const { return tls_; }

 private:
  ManagerLink(std::string addr, ManagerAddress address, rpc::TlsFiles tls);

  const std::string addr_;
  const ManagerAddress address_;
  const rpc::TlsFiles tls_;
  rpc::ChannelPool channels_;
};

}  // namespace dragonfly::daemon
