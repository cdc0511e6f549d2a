// SPDX-License-Identifier: Apache-2.0
// A host as announced by its daemon, and what the scheduler counts about it. Shared by all shards.
#pragma once

#include <atomic>
#include <cstdint>
#include <memory>
#include <string>

#include "absl/base/thread_annotations.h"
#include "absl/synchronization/mutex.h"
#include "runtime/clock.h"

namespace common::v2 {
class Host;
}

namespace dragonfly::scheduler {

// What one announcement says. Never changed after it was made; the next announcement replaces it whole.
struct HostFacts {
  HostFacts() = default;
  std::string id;
  std::string hostname;
  std::string ip;
  int32_t port = 0;   // of the DfdaemonUpload service
  uint32_t type = 0;  // 0 normal; 1 super, 2 strong, 3 weak: a seed
  bool disable_shared = false;
  std::string idc;
  std::string location;
  int32_t upload_limit = 0;              // parent-child edges at once
  Clock::duration announce_interval{0};  // 0: never expires
  // The daemon asks the origin for a file's length before it registers (all Rust clients do), so that it can use
  // parents of a task whose length this scheduler does not know.
  bool knows_length = false;
  // The serialised common.v2.Host that children get.
  std::string wire;
  // As announced.
  std::shared_ptr<const common::v2::Host> announced;

  // Bytes a second that the host can send and receive, as it says; 0: it does not say.
  double max_tx_rate = 0;
  double max_rx_rate = 0;

  bool seed() const { return type != 0; }
};

// Thread-safe.
class Host {
 public:
  Host(std::shared_ptr<const HostFacts> facts, TimePoint now);

  const std::string& id() const { return id_; }
  std::shared_ptr<const HostFacts> facts() const;
  void Update(std::shared_ptr<const HostFacts> facts, TimePoint now);

  // One parent-child edge from a peer of this host. False when `limit` edges exist.
  bool TakeUploadSlot(int32_t limit);
  void GiveUploadSlot();
  int32_t upload_slots() const { return slots_.load(std::memory_order_relaxed); }

  // A child has got (or failed to get) one piece from this host.
  void CountUpload(bool ok);
  // Share of good pieces, 1 when nothing is known. Old counts fade, so a host can recover: beyond 1024 pieces the past
  // is halved.
  double UploadSuccess() const;

  // Signs of life.
  void Touch(TimePoint now) { updated_at_.store(now.time_since_epoch().count(), std::memory_order_relaxed); }
  TimePoint updated_at() const { return TimePoint(Clock::duration(updated_at_.load(std::memory_order_relaxed))); }

 private:
  const std::string id_;
  mutable absl::Mutex mutex_;
  std::shared_ptr<const HostFacts> facts_ ABSL_GUARDED_BY(mutex_);
  std::atomic<int32_t> slots_{0};
  std::atomic<uint64_t> uploads_{0};  // pieces in the upper half, failed ones among them in the lower half
  std::atomic<Clock::rep> updated_at_;
};

}  // namespace dragonfly::scheduler
