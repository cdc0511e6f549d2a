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
#include "absl/container/btree_set.h"
#include "absl/container/flat_hash_map.h"
#include "absl/synchronization/mutex.h"
#include "scheduler/host.h"

namespace dragonfly::scheduler {

// Thread-safe; every call is short.
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
  // All, or those of one type.
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
  mutable absl::Mutex mutex_;
  absl::flat_hash_map<std::string, Entry> hosts_ ABSL_GUARDED_BY(mutex_);
  // Ids of the seeds among them, sorted: of two ring members on one point the later wins, for everybody the same.
  absl::btree_set<std::string> seeds_ ABSL_GUARDED_BY(mutex_);
};

}  // namespace dragonfly::scheduler
