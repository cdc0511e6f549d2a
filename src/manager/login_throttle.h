// SPDX-License-Identifier: Apache-2.0
// How often a password may be guessed.
#pragma once

#include <cstddef>
#include <map>
#include <string>

#include "absl/base/thread_annotations.h"
#include "absl/synchronization/mutex.h"
#include "runtime/clock.h"

namespace dragonfly::manager {

// Within a minute: 5 failures of one address for one name, 30 of one address, 100 for one name. Any thread.
class LoginThrottle {
 public:
  static constexpr size_t kEntriesMax = 20'000;  // when they are full, the oldest are forgotten

  // Whether another attempt may be made.
  bool Admits(const std::string& client, const std::string& name, TimePoint now);
  void CountFailure(const std::string& client, const std::string& name, TimePoint now);

 private:
  struct Entry {
    int failures = 0;
    TimePoint since;
  };

  bool Below(const std::string& key, int most, TimePoint now) ABSL_EXCLUSIVE_LOCKS_REQUIRED(mutex_);
  void Count(const std::string& key, TimePoint now) ABSL_EXCLUSIVE_LOCKS_REQUIRED(mutex_);

  absl::Mutex mutex_;
  std::map<std::string, Entry> entries_ ABSL_GUARDED_BY(mutex_);
};

}  // namespace dragonfly::manager
