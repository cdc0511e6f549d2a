// SPDX-License-Identifier: Apache-2.0
// Keeps the record of a service at the manager true: active while the service lives, inactive after a crash. Source:
// dragonfly v2.3.0, manager/rpcserver/manager_server_v2.go (KeepAlive). Only .cc files include this (it names
// messages).
#pragma once

#include <boost/asio/any_io_executor.hpp>
#include <boost/asio/awaitable.hpp>
#include <chrono>
#include <functional>
#include <memory>
#include <string>

#include "absl/status/status.h"
#include "manager/v2/manager.pb.h"
#include "runtime/clock.h"

namespace grpc {
class Channel;
}

namespace dragonfly::rpc {

struct ManagerPresenceOptions {
  ManagerPresenceOptions() = default;
  std::string manager;                 // its address, for messages
  std::string who;                     // "this scheduler", for messages
  manager::v2::KeepAliveRequest beat;  // what each keep-alive message says
  Clock::duration interval{std::chrono::seconds(5)};
  Clock::duration retry_min{std::chrono::seconds(1)};  // after a failure, doubled with each up to the longest
  Clock::duration retry_max{std::chrono::seconds(30)};
};

// Registers the service, then holds a KeepAlive stream; both anew when the stream has ended, so that a record that was
// deleted comes back. Thread rule: every method from any thread.
class ManagerPresence {
 public:
  using Channel = std::function<std::shared_ptr<grpc::Channel>()>;
  using Register = std::function<boost::asio::awaitable<absl::Status>()>;

  // `channel` gives the connection to the manager; `enter` writes the record (UpdateScheduler, UpdateSeedPeer).
  ManagerPresence(ManagerPresenceOptions options, boost::asio::any_io_executor executor, Channel channel,
                  Register enter);
  // Stop() must have completed if Start() was called.
  ~ManagerPresence();
  ManagerPresence(const ManagerPresence&) = delete;
  ManagerPresence& operator=(const ManagerPresence&) = delete;

  void Start();
  // Registers anew at the next beat: the record has gone, which the stream does not tell.
  void Renew();
  // Ends the stream; the manager then takes the service for inactive.
  boost::asio::awaitable<void> Stop();
  // OK while the manager knows the service; else why not.
  absl::Status state() const;

 private:
  struct State;
  const std::shared_ptr<State> state_;
};

}  // namespace dragonfly::rpc
