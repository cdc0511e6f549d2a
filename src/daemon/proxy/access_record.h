// SPDX-License-Identifier: Apache-2.0
// Who may have what: which credentials an origin has lately accepted for which URL.
#pragma once

#include <cstddef>
#include <list>
#include <string>
#include <string_view>

#include "absl/base/thread_annotations.h"
#include "absl/container/flat_hash_map.h"
#include "absl/synchronization/mutex.h"
#include "daemon/proxy/fields.h"
#include "runtime/clock.h"

namespace dragonfly::daemon::proxy {

// Remembers digests only, never credentials. Thread-safe.
class AccessRecord {
 public:
  struct Options {
    Options() = default;
    Clock::duration fresh = std::chrono::seconds(60);  // an acceptance holds so long
    Clock::duration stale = std::chrono::hours(24);    // and so long while the origin cannot be asked
    size_t entries_max = 1 << 16;                      // the one that is oldest goes
  };
  explicit AccessRecord(Options options) : options_(options) {}
  AccessRecord() : AccessRecord(Options()) {}

  // What stands for `url` together with the credentials in `fields`. Services have their own names for those
  // (PRIVATE-TOKEN, X-Api-Key), so every field counts that is not known to hold none.
  static std::string KeyOf(std::string_view url, const Fields& fields);
  static bool HasCredentials(const Fields& fields);

  void Accept(const std::string& key, TimePoint now = Clock::now());
  void Forget(const std::string& key);
  bool Fresh(const std::string& key, TimePoint now = Clock::now()) const { return Within(key, options_.fresh, now); }
  bool Stale(const std::string& key, TimePoint now = Clock::now()) const { return Within(key, options_.stale, now); }

 private:
  bool Within(const std::string& key, Clock::duration age, TimePoint now) const;

  struct Entry {
    std::string key;
    TimePoint accepted;
  };
  const Options options_;
  mutable absl::Mutex mutex_;
  std::list<Entry> entries_ ABSL_GUARDED_BY(mutex_);  // the newest first
  absl::flat_hash_map<std::string, std::list<Entry>::iterator> by_key_ ABSL_GUARDED_BY(mutex_);
};

}  // namespace dragonfly::daemon::proxy
