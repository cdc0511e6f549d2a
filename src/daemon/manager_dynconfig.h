// SPDX-License-Identifier: Apache-2.0
// Schedulers and cluster configuration from the manager: client v1.0.0 and v1.5.1, dragonfly-client/src/dynconfig.
#pragma once

#include <boost/asio/awaitable.hpp>
#include <boost/asio/io_context.hpp>
#include <chrono>
#include <memory>
#include <string>

#include "daemon/dynconfig.h"
#include "daemon/manager_link.h"
#include "rpc/channel.h"
#include "runtime/blocking_pool.h"
#include "runtime/clock.h"
#include "telemetry/trace.h"

namespace dragonfly::daemon {

struct ManagerDynconfigOptions {
  ManagerDynconfigOptions() = default;
  std::string hostname;
  std::string ip;
  std::string idc;
  std::string location;
  bool seed = false;
  uint64_t scheduler_cluster_id = 0;  // the only cluster to be taken; 0: any
  Clock::duration refresh_interval{std::chrono::seconds(60)};
  Clock::duration retry_min{std::chrono::seconds(1)};   // after a failure, doubled with each up to the longest
  Clock::duration retry_max{std::chrono::seconds(30)};  // at most refresh_interval
  Clock::duration call_timeout{std::chrono::seconds(10)};
  Clock::duration probe_timeout{std::chrono::seconds(2)};  // of one scheduler
  telemetry::SpanParent trace;
};

// Asks the manager (manager.v2.Manager/ListSchedulers) at the start, every interval, and when no scheduler serves any
// more. The schedulers that it names are asked for their health in its order; the first that serves fixes the cluster,
// and all of that cluster are taken. When nothing can be had, what was known before stays.
class ManagerDynconfig final : public Dynconfig {
 public:
  // `schedulers` are the channels to schedulers. Everything must outlive the object.
  ManagerDynconfig(ManagerDynconfigOptions options, ManagerLink& manager, boost::asio::io_context& io,
                   rpc::ChannelPool& schedulers, runtime::BlockingPool& blocking);
  ~ManagerDynconfig() override;

  void Start() override;
  boost::asio::awaitable<void> Stop() override;
  void Suspect() override;
  std::string name() const override;

 private:
  struct State;
  boost::asio::awaitable<void> Run();
  boost::asio::awaitable<absl::Status> Refresh();
  boost::asio::awaitable<absl::Status> Explain(absl::Status failure);

  const std::unique_ptr<State> state_;
};

}  // namespace dragonfly::daemon
