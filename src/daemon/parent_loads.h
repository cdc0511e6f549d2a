// SPDX-License-Identifier: Apache-2.0
// How busy the hosts of our parents are: one SyncHost stream a host, however many tasks take from it.
// The weight is that of client v1.5.1, dragonfly-client/src/resource/parent_selector.rs.
#pragma once

#include <boost/asio/any_io_executor.hpp>
#include <cstddef>
#include <memory>
#include <optional>
#include <string>

#include "absl/base/thread_annotations.h"
#include "absl/container/flat_hash_map.h"
#include "absl/synchronization/mutex.h"
#include "rpc/channel.h"
#include "runtime/clock.h"
#include "runtime/task_group.h"

namespace dragonfly::daemon {

// Bytes a second that are taken for free at a host that tells nothing.
inline constexpr double kUnknownFreeRate = 10e9 / 8;

// Bytes a second that a host can still send: what its interface can do less what it does, but at least a tenth.
double FreeRate(double max_tx_bits, double tx_bits);

// Thread-safe.
class ParentLoads {
 private:
  struct Host;

 public:
  // As long as one lives, the host is watched (and a while longer, for the next task).
  class Watch {
   public:
    explicit Watch(std::shared_ptr<Host> host);
    ~Watch();
    Watch(const Watch&) = delete;
    Watch& operator=(const Watch&) = delete;
    // What the host has told last, in bytes a second; nullopt when it has told nothing yet, or serves no SyncHost.
    std::optional<double> free_rate() const;

   private:
    const std::shared_ptr<Host> host_;
  };

  // Hosts that are watched at once; further ones stay unwatched.
  static constexpr size_t kHostsMax = 1024;

  // The streams are read on `executor`. `host_id`: own. `channels` must outlive it. `linger`: how long a host is
  // watched after the last Watch has gone.
  ParentLoads(boost::asio::any_io_executor executor, rpc::ChannelPool& channels, std::string host_id,
              Clock::duration linger = std::chrono::seconds(30));
  // Stop() must have completed.
  ~ParentLoads();
  ParentLoads(const ParentLoads&) = delete;
  ParentLoads& operator=(const ParentLoads&) = delete;

  // Watches the host whose upload service is at `address`; null when too many are. `peer_id`: of the asking peer.
  std::unique_ptr<Watch> Begin(const std::string& address, const std::string& peer_id);
  boost::asio::awaitable<void> Stop();
  // Hosts that are watched now.
  size_t size() const;

 private:
  boost::asio::awaitable<void> Read(std::string address, std::string peer_id, std::shared_ptr<Host> host);

  rpc::ChannelPool& channels_;
  const std::string host_id_;
  const Clock::duration linger_;
  mutable absl::Mutex mutex_;
  absl::flat_hash_map<std::string, std::shared_ptr<Host>> hosts_ ABSL_GUARDED_BY(mutex_);
  runtime::TaskGroup group_;
};

}  // namespace dragonfly::daemon
