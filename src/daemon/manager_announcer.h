// SPDX-License-Identifier: Apache-2.0
// Keeps a seed peer's record at the manager true: active while it lives, inactive after a crash, gone when it has left.
#pragma once

#include <boost/asio/awaitable.hpp>
#include <boost/asio/io_context.hpp>
#include <chrono>
#include <memory>
#include <string>

#include "daemon/host_identity.h"
#include "daemon/manager_link.h"
#include "runtime/clock.h"

namespace dragonfly::daemon {

struct ManagerAnnouncerOptions {
  ManagerAnnouncerOptions() = default;
  HostIdentity identity;
  std::string idc;
  std::string location;
  std::string type = "super";  // super, strong, weak or normal
  uint64_t cluster_id = 1;     // of seed peers
  Clock::duration keepalive_interval{std::chrono::seconds(15)};
  Clock::duration retry_min{std::chrono::seconds(1)};  // after a failure, doubled with each up to the longest
  Clock::duration retry_max{std::chrono::seconds(30)};
  Clock::duration call_timeout{std::chrono::seconds(10)};
};

// UpdateSeedPeer, then a KeepAlive stream; both anew when the stream has ended (client v1.0.0,
// dragonfly-client/src/announcer/mod.rs, which keeps no stream: a crashed seed stays active there).
// Thread rule: every method from any thread; coroutines resume on the caller's executor.
class ManagerAnnouncer {
 public:
  // Everything must outlive the announcer.
  ManagerAnnouncer(ManagerAnnouncerOptions options, boost::asio::io_context& io, ManagerLink& manager);
  // Leave() must have completed if Start() was called.
  ~ManagerAnnouncer();
  ManagerAnnouncer(const ManagerAnnouncer&) = delete;
  ManagerAnnouncer& operator=(const ManagerAnnouncer&) = delete;

  void Start();
  // Ends the stream and, unless `deadline` has passed, takes the record off the manager's books (DeleteSeedPeer).
  // Returns by `deadline`.
  boost::asio::awaitable<void> Leave(TimePoint deadline);

 private:
  struct State;
  const std::shared_ptr<State> state_;
};

}  // namespace dragonfly::daemon
