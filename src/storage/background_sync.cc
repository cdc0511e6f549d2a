// SPDX-License-Identifier: Apache-2.0
#include "storage/background_sync.h"

#include <pthread.h>

#include <utility>

namespace dragonfly::storage {

void BackgroundSync::Add(std::function<void()> job) {
  const absl::MutexLock lock(&mutex_);
  if (stopping_) return;
  jobs_.push_back(std::move(job));
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
}

void BackgroundSync::Run() {
  (void)::pthread_setname_np(::pthread_self(), "storage-sync");
  for (;;) {
    std::function<void()> job;
    {
      const absl::MutexLock lock(&mutex_);
      mutex_.Await(absl::Condition(
          +[](BackgroundSync* self) ABSL_NO_THREAD_SAFETY_ANALYSIS { return self->stopping_ || !self->jobs_.empty(); },
          this));
      if (jobs_.empty()) return;
      job = std::move(jobs_.front());
      jobs_.pop_front();
    }
    job();
  }
}

}  // namespace dragonfly::storage
