// SPDX-License-Identifier: Apache-2.0
// Keeps the descriptors of the files in use open, and no more than a bound. Internal to storage.
#pragma once

#include <atomic>
#include <cstddef>
#include <memory>
#include <vector>

#include "absl/base/thread_annotations.h"
#include "absl/synchronization/mutex.h"
#include "base/unique_fd.h"

namespace dragonfly::storage {

// A second-chance list (CLOCK): a hit sets one bit in the slot and takes no common lock. A descriptor that leaves the
// list is closed when the last who holds it lets go, so the bound counts idle descriptors.
// Thread rule: every method from any thread.
class OpenFiles {
 public:
  // The place of one file; a member of the file's owner.
  class Slot {
   public:
    explicit Slot(OpenFiles& files) : files_(files) {}
    ~Slot() { files_.Close(*this); }
    Slot(const Slot&) = delete;
    Slot& operator=(const Slot&) = delete;

    // The descriptor, or null when it is closed.
    std::shared_ptr<const UniqueFd> Get();

   private:
    friend class OpenFiles;
    OpenFiles& files_;
    absl::Mutex mutex_;
    std::shared_ptr<const UniqueFd> fd_ ABSL_GUARDED_BY(mutex_);
    std::atomic<bool> used_ = false;  // since the hand passed
    size_t index_ = SIZE_MAX;         // in files_.slots_; guarded by files_.mutex_
  };

  // At most `limit` descriptors are kept, at least 1.
  explicit OpenFiles(size_t limit) : limit_(limit == 0 ? 1 : limit) {}

  // Puts `fd` into the slot and returns what is there now: another thread may have been faster.
  std::shared_ptr<const UniqueFd> Put(Slot& slot, UniqueFd fd);
  // Empties the slot.
  void Close(Slot& slot);
  // Empties the slots that were not used since the last call, and whose descriptors nobody holds.
  void CloseIdle();

  size_t size() const;

 private:
  std::shared_ptr<const UniqueFd> Remove(Slot& slot) ABSL_EXCLUSIVE_LOCKS_REQUIRED(mutex_);

  const size_t limit_;
  mutable absl::Mutex mutex_;  // taken before a slot's
  std::vector<Slot*> slots_ ABSL_GUARDED_BY(mutex_);
  size_t hand_ ABSL_GUARDED_BY(mutex_) = 0;
};

}  // namespace dragonfly::storage
