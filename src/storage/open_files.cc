// SPDX-License-Identifier: Apache-2.0
#include "storage/open_files.h"

#include <utility>

namespace dragonfly::storage {

std::shared_ptr<const UniqueFd> OpenFiles::Slot::Get() {
  used_.store(true, std::memory_order_relaxed);
  const absl::MutexLock lock(&mutex_);
  return fd_;
}

std::shared_ptr<const UniqueFd> OpenFiles::Put(Slot& slot, UniqueFd fd) {
  auto opened = std::make_shared<const UniqueFd>(std::move(fd));
  std::shared_ptr<const UniqueFd> evicted;  // closed after the lock
  const absl::MutexLock lock(&mutex_);
  if (slot.index_ != SIZE_MAX) {
    const absl::MutexLock slot_lock(&slot.mutex_);
    return slot.fd_;
  }
  if (slots_.size() >= limit_) {
    // Ends after two rounds at the latest unless others keep touching every slot; then any slot will do.
    for (size_t steps = 0; steps < 2 * slots_.size(); ++steps) {
      hand_ = (hand_ + 1) % slots_.size();
      if (!slots_[hand_]->used_.exchange(false, std::memory_order_relaxed)) break;
    }
    evicted = Remove(*slots_[hand_]);
  }
  slot.index_ = slots_.size();
  slots_.push_back(&slot);
  slot.used_.store(true, std::memory_order_relaxed);
  const absl::MutexLock slot_lock(&slot.mutex_);
  slot.fd_ = opened;
  return opened;
}

void OpenFiles::Close(Slot& slot) {
  std::shared_ptr<const UniqueFd> closed;
  const absl::MutexLock lock(&mutex_);
  if (slot.index_ != SIZE_MAX) closed = Remove(slot);
}

void OpenFiles::CloseIdle() {
  std::vector<std::shared_ptr<const UniqueFd>> closed;  // after the lock
  const absl::MutexLock lock(&mutex_);
  for (size_t i = slots_.size(); i-- > 0;) {
    Slot& slot = *slots_[i];
    if (slot.used_.exchange(false, std::memory_order_relaxed)) continue;
    {
      const absl::MutexLock slot_lock(&slot.mutex_);
      if (slot.fd_.use_count() > 1) continue;
    }
    closed.push_back(Remove(slot));
  }
}

size_t OpenFiles::size() const {
  const absl::MutexLock lock(&mutex_);
  return slots_.size();
}

std::shared_ptr<const UniqueFd> OpenFiles::Remove(Slot& slot) {
  slots_[slot.index_] = slots_.back();
  slots_[slot.index_]->index_ = slot.index_;
  slots_.pop_back();
  slot.index_ = SIZE_MAX;
  if (hand_ >= slots_.size()) hand_ = 0;
  const absl::MutexLock lock(&slot.mutex_);
  return std::exchange(slot.fd_, nullptr);
}

}  // namespace dragonfly::storage
