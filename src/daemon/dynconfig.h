// SPDX-License-Identifier: Apache-2.0
// What a dfdaemon learns while it runs: where its schedulers are and what its cluster wants. Three sources: addresses
// in dfdaemon.yaml, the file dynconfig.yaml, a manager. See docs/control-plane.md.
#pragma once

#include <boost/asio/awaitable.hpp>
#include <cstdint>
#include <memory>
#include <string>
#include <vector>

#include "absl/base/thread_annotations.h"
#include "absl/status/status.h"
#include "absl/synchronization/mutex.h"
#include "daemon/block_list.h"
#include "runtime/clock.h"
#include "runtime/signal.h"

namespace dragonfly::daemon {

// Immutable once it is published.
struct DynconfigData {
  DynconfigData() = default;
  std::vector<std::string> scheduler_addrs;  // "host:port", checked by SplitHostPort()
  uint64_t scheduler_cluster_id = 0;         // 0: not told
  // Of this host's role, peer or seed peer; never null.
  std::shared_ptr<const BlockList> block_list = std::make_shared<const BlockList>();
};

// Thread rule: every method from any thread; coroutines resume on the caller's executor.
class Dynconfig {
 public:
  virtual ~Dynconfig() = default;

  // Begins to keep the data fresh. Once.
  virtual void Start() {}
  // Must have completed before the destructor when Start() was called.
  virtual boost::asio::awaitable<void> Stop();
  // None of the schedulers serves: the source may know others by now. Asked soon, but never more often than the source
  // can bear.
  virtual void Suspect() {}

  // Never null; without addresses until the source has told some.
  std::shared_ptr<const DynconfigData> data() const;
  // data()->block_list, for those who need nothing else. What is returned must not outlive this object.
  BlockListSource block_lists() const;
  // Notified when data() has changed.
  runtime::Signal changes() const { return changed_; }
  // OK when the source was read at the last try; else why not. The data of before stay in force then.
  absl::Status health() const;
  // Completes when the source was tried for the first time, well or not, or at `deadline`.
  boost::asio::awaitable<void> WaitForFirstTry(TimePoint deadline = kNoDeadline) const;
  // The source, for messages: "manager http://10.0.0.1:65003".
  virtual std::string name() const = 0;

 protected:
  // Puts `data` in force, and notifies when it differs.
  void Publish(DynconfigData data);
  // The source cannot be read; logged when it is news.
  void Fail(const absl::Status& status);

 private:
  runtime::Signal changed_;
  runtime::Signal tried_;
  mutable absl::Mutex mutex_;
  std::shared_ptr<const DynconfigData> data_ ABSL_GUARDED_BY(mutex_) = std::make_shared<const DynconfigData>();
  absl::Status health_ ABSL_GUARDED_BY(mutex_) = absl::UnavailableError("not asked yet");
};

// Addresses that never change (scheduler.addrs of dfdaemon.yaml); none is allowed.
class StaticDynconfig final : public Dynconfig {
 public:
  explicit StaticDynconfig(std::vector<std::string> scheduler_addrs);
  std::string name() const override { return "scheduler.addrs"; }
};

}  // namespace dragonfly::daemon
