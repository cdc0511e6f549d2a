// SPDX-License-Identifier: Apache-2.0
// All hosts that have announced themselves, and the seeds that the manager lists.
#pragma once

#include <cstdint>
#include <memory>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "absl/base/thread_annotations.h"
#include "absl/container/btree_map.h"
#include "absl/container/btree_set.h"
#include "absl/synchronization/mutex.h"
#include "scheduler/host.h"

namespace dragonfly::scheduler {

// Thread-safe. The lock is held for at most a thousand hosts at a time, or for all seeds; each call sees a host that is
// there from its begin to its end.
class HostTable {
 public:
  // Adds or updates the host.
  std::shared_ptr<Host> Announce(std::shared_ptr<const HostFacts> facts, TimePoint now);
  // The seeds that the manager lists: those that have not announced themselves are asked by what it says of them, and
  // go when it lists them no more. Returns the ids of those that have gone.
  std::vector<std::string> SetListed(const std::vector<std::shared_ptr<const HostFacts>>& seeds, TimePoint now);
  std::shared_ptr<Host> Find(std::string_view id) const;
  // False when it was not there.
  bool Remove(std::string_view id);
  // All, or those of one type, sorted by id.
  std::vector<std::shared_ptr<Host>> List(std::optional<uint32_t> type = std::nullopt) const;
  size_t size() const;

  // Removes and returns the hosts that have missed two announcements.
  std::vector<std::string> RemoveSilent(TimePoint now);

  // The seed hosts that may fetch `task_id` from the origin, in the order of preference: the ring order that all
  // schedulers of a cluster share, without those that have failed lately.
  std::vector<std::shared_ptr<Host>> SeedsFor(std::string_view task_id, TimePoint now) const;
  // The seed is not tried again before `until`, or before its next announcement.
  void SkipSeed(std::string_view id, TimePoint until);

 private:
  struct Entry {
    std::shared_ptr<Host> host;
    TimePoint skip_until{};
    bool announced = false;  // else the manager lists it
  };
  struct Ring;  // of the seeds that share

  std::shared_ptr<const Ring> CurrentRing() const;
  // Before an entry gets `facts` in the place of `before` (null: it is new), and when it goes.
  void NoteSeed(const HostFacts& facts, const HostFacts* before) ABSL_EXCLUSIVE_LOCKS_REQUIRED(mutex_);
  void ForgetSeed(const std::string& id) ABSL_EXCLUSIVE_LOCKS_REQUIRED(mutex_);

  mutable absl::Mutex mutex_;
  // Ordered, so that a walk over it can let go of the lock and go on.
  absl::btree_map<std::string, Entry> hosts_ ABSL_GUARDED_BY(mutex_);
  absl::btree_set<std::string> unannounced_ ABSL_GUARDED_BY(mutex_);  // those that only the manager lists
  // Ids of the seeds among them, sorted: of two ring members on one point the later wins, for everybody the same.
  absl::btree_set<std::string> seeds_ ABSL_GUARDED_BY(mutex_);
  // Counts what changes the ring.
  uint64_t ring_version_ ABSL_GUARDED_BY(mutex_) = 0;
  mutable std::shared_ptr<const Ring> ring_ ABSL_GUARDED_BY(mutex_);  // may be of an earlier version
};

}  // namespace dragonfly::scheduler
