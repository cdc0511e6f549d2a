// SPDX-License-Identifier: Apache-2.0
// The schedulers of the cluster: where they are, which of them serve, and which one a task belongs to.
//
// Every peer must come to the same choice or the peers of a task never meet: names are resolved to all their addresses
// (IPv4 when there is one), the addresses that answer a gRPC health check with SERVING make the ring.
#pragma once

#include <boost/asio/awaitable.hpp>
#include <boost/asio/io_context.hpp>
#include <chrono>
#include <cstdint>
#include <memory>
#include <string>
#include <utility>
#include <vector>

#include "absl/status/status.h"
#include "base/ids.h"
#include "daemon/dynconfig.h"
#include "rpc/channel.h"
#include "runtime/blocking_pool.h"
#include "runtime/clock.h"
#include "runtime/signal.h"
#include "telemetry/trace.h"

namespace dragonfly::daemon {

struct SchedulerSetOptions {
  SchedulerSetOptions() = default;
  Clock::duration refresh_interval{std::chrono::seconds(60)};  // between checks of all
  Clock::duration retry_interval{std::chrono::seconds(1)};     // longest between checks of those that do not serve
  Clock::duration probe_timeout{std::chrono::seconds(2)};      // of one health check, connecting included
  rpc::TlsFiles tls;                                           // of the channels, to say what is wrong with one
  telemetry::SpanParent trace;
};

// Thread rule: every method from any thread; coroutines resume on the caller's executor.
class SchedulerSet {
 public:
  // A scheduler that serves. `connection` grows when it was lost and found again, however soon: what it knew of us may
  // be gone.
  struct Member {
    std::string address;  // "ip:port"
    uint64_t connection = 0;
  };

  // The schedulers are those of `dynconfig`, followed when they change. Everything must outlive the set.
  SchedulerSet(SchedulerSetOptions options, boost::asio::io_context& io, Dynconfig& dynconfig,
               rpc::ChannelPool& channels, runtime::BlockingPool& blocking);
  // Stop() must have completed if Start() was called.
  ~SchedulerSet();
  SchedulerSet(const SchedulerSet&) = delete;
  SchedulerSet& operator=(const SchedulerSet&) = delete;

  // Begins to check all schedulers, when `dynconfig` has told them, and in the background. Their channels stay
  // connected from here on.
  void Start();
  // Completes when the first check is done, or at `deadline`. Returns whether a scheduler serves.
  boost::asio::awaitable<bool> WaitForFirstCheck(TimePoint deadline);
  boost::asio::awaitable<void> Stop();

  // Who serves, sorted by address.
  std::vector<Member> members() const;
  // Notified when members() has changed.
  runtime::Signal changes() const;
  // Addresses that serve, the one responsible for `task` first, then in the order of failover. Empty when none serves.
  std::vector<std::string> OrderFor(const TaskId& task) const;

  // True when every scheduler that serves takes registrations without a length (rpc/capability.h); also when none
  // serves.
  bool TakeUnknownLength() const;

  // A call to `address` has failed or stayed without an answer: it is checked again at once.
  void Suspect(const std::string& address);

  // What the last check of each address has said, sorted by address; for people.
  std::vector<std::pair<std::string, absl::Status>> checks() const;

  // The kept channel to an address of this set.
  std::shared_ptr<grpc::Channel> ChannelTo(const std::string& address);

 private:
  struct State;
  std::shared_ptr<State> state_;
};

}  // namespace dragonfly::daemon
