// SPDX-License-Identifier: Apache-2.0
// A thread that waits for the disk so that nobody else has to. Internal to storage.
#pragma once

#include <memory>
#include <thread>
#include <vector>

#include "absl/base/thread_annotations.h"
#include "absl/status/status.h"
#include "absl/synchronization/mutex.h"

namespace dragonfly::storage {

// What can be made to survive a power cut. The three calls come in this order, from one thread.
class Syncable {
 public:
  virtual ~Syncable() = default;
  // Remembers what a sync that begins now will cover; false when there is nothing to do.
  virtual bool PrepareSync() = 0;
  // Waits until its files are on the disk.
  virtual absl::Status SyncFiles() = 0;
  // Writes down that what was remembered is on the disk.
  virtual void RecordSync() = 0;
};

// What is added while the disk is busy, or rests for a second after that, makes one batch: a small one is synced file
// by file, a large one by a sync of the whole file system, which costs about as much as that of one file. Thread-safe.
class BackgroundSync {
 public:
  // `directory_fd` is on the file system and stays open.
  explicit BackgroundSync(int directory_fd) : directory_fd_(directory_fd) {}
  ~BackgroundSync() { Stop(); }
  BackgroundSync(const BackgroundSync&) = delete;
  BackgroundSync& operator=(const BackgroundSync&) = delete;

  // Starts the thread at the first call. Dropped after Stop().
  void Add(std::shared_ptr<Syncable> item);
  // Ends the thread after the running batch. A small one that waits is synced, a large one dropped: the end of a daemon
  // does not wait for a busy disk.
  void Stop();

 private:
  using Batch = std::vector<std::shared_ptr<Syncable>>;
  void Run();
  void Sync(Batch batch) const;

  const int directory_fd_;
  absl::Mutex mutex_;
  Batch waiting_ ABSL_GUARDED_BY(mutex_);
  bool stopping_ ABSL_GUARDED_BY(mutex_) = false;
  std::thread thread_ ABSL_GUARDED_BY(mutex_);
};

}  // namespace dragonfly::storage
