// SPDX-License-Identifier: Apache-2.0
// Keeps the cluster's configuration fresh: from the manager, or, without one, from dynconfig.yaml.
#pragma once

#include <boost/asio/awaitable.hpp>
#include <boost/asio/io_context.hpp>
#include <chrono>
#include <cstdint>
#include <functional>
#include <memory>
#include <string>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "rpc/channel.h"
#include "runtime/blocking_pool.h"
#include "runtime/clock.h"
#include "scheduler/cluster_config.h"

namespace dragonfly::scheduler {

// Who this scheduler is at the manager.
struct ManagerIdentity {
  std::string address;  // of the manager, "host:port"
  std::string hostname;
  std::string ip;
  uint16_t port = 0;
  std::string idc;
  std::string location;
  uint64_t cluster_id = 1;
  bool takes_jobs = false;  // of the manager's queues
};

struct DynconfigOptions {
  DynconfigOptions() = default;
  Clock::duration refresh_interval{std::chrono::seconds(60)};
  Clock::duration retry_min{std::chrono::seconds(1)};   // after a failure, doubled with each up to the longest
  Clock::duration retry_max{std::chrono::seconds(30)};  // at most refresh_interval
  Clock::duration call_timeout{std::chrono::seconds(10)};
};

// Called with each new configuration, from the thread of `io`, also when nothing has changed in it.
using OnClusterConfig = std::function<void(std::shared_ptr<const ClusterConfig>)>;

// Thread rule: every method from any thread; coroutines resume on the caller's executor.
class Dynconfig {
 public:
  virtual ~Dynconfig() = default;
  virtual void Start() = 0;
  // Must have completed before the destructor when Start() was called.
  virtual boost::asio::awaitable<void> Stop() = 0;
  // Asks the source soon.
  virtual void Refresh() = 0;
  // OK when the source was read at the last try; else why not. What was known before stays in force then.
  virtual absl::Status state() const = 0;
};

// The file, read now and then every refresh interval. Blocks. A file that is not there is empty, one that goes away
// leaves its values in force. Errors: INVALID_ARGUMENT for a wrong file. `io` and `blocking` must outlive the object.
absl::StatusOr<std::unique_ptr<Dynconfig>> MakeFileDynconfig(std::string path, ClusterConfig defaults,
                                                             DynconfigOptions options, boost::asio::io_context& io,
                                                             runtime::BlockingPool& blocking, OnClusterConfig publish);

// manager.v2.Manager/GetScheduler and ListApplications, every refresh interval. What was told last stands in
// `cache_file` and is published at once when the object is made; blocks for that. `forgotten` is called, on the thread
// of `io`, when the manager does not know this scheduler. References must outlive the object.
std::unique_ptr<Dynconfig> MakeManagerDynconfig(ManagerIdentity identity, rpc::TlsFiles tls, rpc::ChannelPool& channels,
                                                std::string cache_file, ClusterConfig defaults,
                                                DynconfigOptions options, boost::asio::io_context& io,
                                                runtime::BlockingPool& blocking, OnClusterConfig publish,
                                                std::function<void()> forgotten);

}  // namespace dragonfly::scheduler
