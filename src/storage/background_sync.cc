// SPDX-License-Identifier: Apache-2.0
#include "storage/background_sync.h"

#include <pthread.h>
#include <unistd.h>

#include <cerrno>
#include <utility>

#include "base/status.h"
#include "telemetry/log.h"

namespace dragonfly::storage {
namespace {

// From here on one sync of everything is cheaper than two for each content.
constexpr size_t kTogetherMin = 8;
// Between two batches. The kernel itself lets bytes wait for half a minute; flushing without a pause would stall
// whoever makes files meanwhile.
constexpr absl::Duration kPause = absl::Seconds(1);

}  // namespace

void BackgroundSync::Add(std::shared_ptr<Syncable> item) {
  const absl::MutexLock lock(&mutex_);
  if (stopping_) return;
  waiting_.push_back(std::move(item));
  if (!thread_.joinable()) thread_ = std::thread([this] { Run(); });
}

void BackgroundSync::Stop() {
  std::thread thread;
  {
    const absl::MutexLock lock(&mutex_);
    stopping_ = true;
    thread = std::move(thread_);
  }
  if (thread.joinable()) thread.join();
  // What waits would keep its store, and so this, alive for ever.
  Batch dropped;
  const absl::MutexLock lock(&mutex_);
  dropped.swap(waiting_);
}

void BackgroundSync::Run() {
  (void)::pthread_setname_np(::pthread_self(), "storage-sync");
  for (;;) {
    Batch batch;
    {
      const absl::MutexLock lock(&mutex_);
      mutex_.Await(absl::Condition(
          +[](BackgroundSync* self)
               ABSL_NO_THREAD_SAFETY_ANALYSIS { return self->stopping_ || !self->waiting_.empty(); },
          this));
      if (waiting_.empty() || (stopping_ && waiting_.size() >= kTogetherMin)) return;
      batch.swap(waiting_);
    }
    Sync(std::move(batch));
    const absl::MutexLock lock(&mutex_);
    mutex_.AwaitWithTimeout(absl::Condition(&stopping_), kPause);
  }
}

void BackgroundSync::Sync(Batch batch) const {
  std::erase_if(batch, [](const std::shared_ptr<Syncable>& item) { return !item->PrepareSync(); });
  const bool together = batch.size() >= kTogetherMin;
  if (together && ::syncfs(directory_fd_) != 0) {
    DF_LOG(Warn, "storage: {}", ErrnoStatus(errno, "sync the file system").ToString());
    return;
  }
  for (const std::shared_ptr<Syncable>& item : batch) {
    const absl::Status synced = together ? absl::OkStatus() : item->SyncFiles();
    if (synced.ok()) {
      item->RecordSync();
    } else {
      DF_LOG(Warn, "storage: {}", synced.ToString());
    }
  }
}

}  // namespace dragonfly::storage
