// SPDX-License-Identifier: Apache-2.0
// Tells when the connection of a channel was lost, however soon it comes back.
#pragma once

#include <atomic>
#include <cstdint>
#include <memory>

#include "runtime/signal.h"

namespace grpc {
class Channel;
}

namespace dragonfly::rpc {

// How often the connection of a channel was lost since it is followed. It grows with each loss; it may also grow once
// without one, when an attempt to connect ends in the same moment.
using ConnectionLosses = std::shared_ptr<const std::atomic<uint64_t>>;

// Follows channels on one thread of its own. The gRPC library does not take a watch back before its deadline, so its
// watches belong to this object, last two seconds each and are renewed as long as somebody wants the count.
//
// Thread rule: every method from any thread.
class ConnectionWatch {
 public:
  ConnectionWatch();
  // Waits for the watches: no longer than it takes to wake a thread when the channels are gone, else up to two seconds.
  ~ConnectionWatch();
  ConnectionWatch(const ConnectionWatch&) = delete;
  ConnectionWatch& operator=(const ConnectionWatch&) = delete;

  // Follows `channel` until what is returned is let go, or the channel is. `lost` is notified after each loss. Neither
  // keeps the channel nor connects it.
  ConnectionLosses Follow(const std::shared_ptr<grpc::Channel>& channel, runtime::Signal lost);

 private:
  struct State;
  std::unique_ptr<State> state_;
};

}  // namespace dragonfly::rpc
