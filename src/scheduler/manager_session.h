// SPDX-License-Identifier: Apache-2.0
// This scheduler's record at the manager.
#pragma once

#include <boost/asio/awaitable.hpp>
#include <boost/asio/io_context.hpp>
#include <functional>
#include <memory>

#include "absl/status/status.h"
#include "rpc/channel.h"
#include "scheduler/dynconfig.h"

namespace dragonfly::scheduler {

// UpdateScheduler, then a KeepAlive stream; both anew when the stream has ended, so that a record that was deleted at
// the manager comes back, which the original's does not. Thread rule: every method from any thread.
class ManagerSession {
 public:
  // `registered` is called after each registration, on the thread of `io`. References must outlive the session.
  ManagerSession(ManagerIdentity identity, Clock::duration keep_alive_interval, rpc::ChannelPool& channels,
                 boost::asio::io_context& io, std::function<void()> registered);
  // Stop() must have completed if Start() was called.
  ~ManagerSession();

  void Start();
  // Registers anew: the manager does not know this scheduler any more.
  void Renew();
  // The manager takes this scheduler for inactive from here on.
  boost::asio::awaitable<void> Stop();
  // OK while the manager knows this scheduler; else why not.
  absl::Status state() const;

 private:
  struct State;
  const std::unique_ptr<State> state_;
};

}  // namespace dragonfly::scheduler
