// SPDX-License-Identifier: Apache-2.0
// Downloads that nobody waits for: a range of a file is asked for, and the rest is expected to be soon.
#pragma once

#include <boost/asio/awaitable.hpp>

#include "absl/base/thread_annotations.h"
#include "absl/container/flat_hash_set.h"
#include "absl/synchronization/mutex.h"
#include "daemon/caller.h"
#include "daemon/lanes.h"
#include "daemon/task_manager.h"

namespace dragonfly::daemon {

// Thread rule: any thread.
class Prefetcher {
 public:
  // All must outlive it; what it starts runs on `lanes`.
  Prefetcher(TaskManager& manager, Lanes& lanes, Probe& probe) : manager_(manager), lanes_(lanes), probe_(probe) {}

  // Starts a download of the whole file that `caller` wants a range of, unless one runs for this reason.
  void Start(const TaskId& id, const Caller& caller);
  // Starts no more.
  void Stop();

 private:
  boost::asio::awaitable<void> Run(TaskId id, DownloadRequest request);

  TaskManager& manager_;
  Lanes& lanes_;
  Probe& probe_;
  absl::Mutex mutex_;
  bool stopped_ ABSL_GUARDED_BY(mutex_) = false;
  absl::flat_hash_set<TaskId> running_ ABSL_GUARDED_BY(mutex_);
};

}  // namespace dragonfly::daemon
