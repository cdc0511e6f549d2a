// SPDX-License-Identifier: Apache-2.0
// A gRPC service that a test plays, on a port of its own that it can leave and come back to.
#pragma once

#include <gtest/gtest.h>

#include <memory>
#include <string>
#include <utility>

#include "base/text.h"
#include "rpc/server.h"
#include "runtime/clock.h"

namespace dragonfly::testing {

// `Wire` is the generated class that is played. Who derives from it calls Start() at the end of its constructor, and
// Stop() in its destructor.
template <typename Wire>
class PlayedService : public Wire {
 public:
  // Serves, again, on the port of before (0: any).
  void Start(int port) {
    rpc::ServerOptions options;
    options.addresses = {StrCat("127.0.0.1:", port)};
    options.services = {this};
    options.tls = tls_;
    auto server = rpc::Server::Start(options);
    ASSERT_TRUE(server.ok()) << server.status();
    server_ = *std::move(server);
    port_ = server_->port();
  }
  void Stop() {
    if (server_ != nullptr) server_->Shutdown(Clock::now());
    server_.reset();
  }
  int port() const { return port_; }
  std::string address() const { return StrCat("127.0.0.1:", port_); }

 protected:
  PlayedService() = default;
  explicit PlayedService(rpc::TlsFiles tls) : tls_(std::move(tls)) {}
  bool encrypted() const { return tls_.enabled(); }

 private:
  const rpc::TlsFiles tls_;
  std::unique_ptr<rpc::Server> server_;
  int port_ = 0;
};

}  // namespace dragonfly::testing
