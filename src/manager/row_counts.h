// SPDX-License-Identifier: Apache-2.0
// How many rows long lists have: counting a hundred thousand of them for each page of ten would cost more than the
// page.
#pragma once

#include <cstdint>
#include <map>
#include <optional>
#include <string>

#include "absl/base/thread_annotations.h"
#include "absl/synchronization/mutex.h"
#include "runtime/clock.h"

namespace dragonfly::manager {

// Any thread. Numbers below kCountedAnew are never kept; others for a second, unless this process writes. Then the
// first who asks counts, and the old number serves the others meanwhile.
class RowCounts {
 public:
  static constexpr int64_t kCountedAnew = 1000;
  static constexpr size_t kEntriesMax = 1000;

  // Whoever gets none counts, and tells Keep().
  std::optional<int64_t> Find(const std::string& key, TimePoint now) {
    absl::MutexLock lock(&mutex_);
    const auto found = entries_.find(key);
    if (found == entries_.end()) return std::nullopt;
    Entry& entry = found->second;
    if (now < entry.count_after) return entry.count;
    // Who counts may fail: another does it then.
    entry.count_after = now + std::chrono::seconds(1);
    return std::nullopt;
  }
  void Keep(const std::string& key, int64_t count, TimePoint now) {
    if (count < kCountedAnew) return;
    absl::MutexLock lock(&mutex_);
    if (entries_.size() >= kEntriesMax) entries_.clear();
    entries_[key] = {count, now + std::chrono::seconds(1)};
  }
  void Forget() {
    absl::MutexLock lock(&mutex_);
    entries_.clear();
  }

 private:
  struct Entry {
    int64_t count = 0;
    TimePoint count_after{};
  };
  absl::Mutex mutex_;
  std::map<std::string, Entry> entries_ ABSL_GUARDED_BY(mutex_);
};

}  // namespace dragonfly::manager
