// SPDX-License-Identifier: Apache-2.0
// A thread that waits for the disk so that nobody else has to. Internal to storage.
#pragma once

#include <deque>
#include <functional>
#include <thread>

#include "absl/base/thread_annotations.h"
#include "absl/synchronization/mutex.h"

namespace dragonfly::storage {

// Runs jobs one after the other: two flushes at once would only make the disk seek. Thread-safe.
class BackgroundSync {
 public:
  BackgroundSync() = default;
  ~BackgroundSync() { Stop(); }
  BackgroundSync(const BackgroundSync&) = delete;
  BackgroundSync& operator=(const BackgroundSync&) = delete;

  // Starts the thread with the first job. After Stop() the job is dropped.
  void Add(std::function<void()> job);
  // Runs what was added and ends the thread. Not from a job.
  void Stop();

 private:
  void Run();

  absl::Mutex mutex_;
  std::deque<std::function<void()>> jobs_ ABSL_GUARDED_BY(mutex_);
  bool stopping_ ABSL_GUARDED_BY(mutex_) = false;
  std::thread thread_ ABSL_GUARDED_BY(mutex_);
};

}  // namespace dragonfly::storage
