// SPDX-License-Identifier: Apache-2.0
// The schedulers over gRPC (scheduler.v2.Scheduler).
#pragma once

#include <boost/asio/awaitable.hpp>
#include <chrono>
#include <functional>
#include <memory>
#include <string>

#include "absl/status/status.h"
#include "daemon/scheduler_link.h"
#include "daemon/scheduler_set.h"
#include "runtime/clock.h"

namespace dragonfly::daemon {

struct GrpcSchedulerLinkOptions {
  GrpcSchedulerLinkOptions() = default;
  std::string host_id;
  Clock::duration call_timeout{std::chrono::seconds(15)};  // of a unary call
  Clock::duration leave_timeout{std::chrono::seconds(2)};  // of all schedulers together, when the host leaves
  // From a registration to its first answer. Then the scheduler counts as silent and the next one is asked.
  Clock::duration first_answer_timeout{std::chrono::seconds(15)};
  // Makes this host known to the scheduler at an address; called when it says that it does not know us. May be empty.
  std::function<boost::asio::awaitable<absl::Status>(std::string address)> announce;
};

// A session sticks to the scheduler that answered its registration. Registering again with the next one is safe as long
// as no answer has come, so that is where the failover happens: a scheduler that cannot be reached, or stays silent, is
// passed over.
class GrpcSchedulerLink final : public SchedulerLink {
 public:
  // `schedulers` must outlive the link and its sessions.
  GrpcSchedulerLink(GrpcSchedulerLinkOptions options, SchedulerSet& schedulers);
  ~GrpcSchedulerLink() override;

  boost::asio::awaitable<absl::StatusOr<std::unique_ptr<PeerSession>>> OpenSession(TaskId task,
                                                                                   std::string peer_id) override;
  bool TakesUnknownLength() const override;
  boost::asio::awaitable<absl::StatusOr<std::string>> StatTask(TaskId task) override;
  boost::asio::awaitable<absl::Status> DeleteTask(TaskId task) override;
  boost::asio::awaitable<void> DeleteHost() override;

 private:
  const std::shared_ptr<const GrpcSchedulerLinkOptions> options_;
  SchedulerSet& schedulers_;
};

}  // namespace dragonfly::daemon
