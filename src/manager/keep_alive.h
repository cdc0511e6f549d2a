// SPDX-License-Identifier: Apache-2.0
// The streams by which schedulers and seed peers show that they live. Each message makes the caller active, the
// end of the stream makes it inactive, unless it has been heard of elsewhere since. Only .cc files include this (it
// brings gRPC).
#pragma once

#include <memory>
#include <set>

#include "absl/base/thread_annotations.h"
#include "absl/synchronization/mutex.h"
#include "db/database.h"
#include "manager/v2/manager.grpc.pb.h"
#include "runtime/task_group.h"

namespace dragonfly::manager {

class KeepAlives {
 public:
  // Both must outlive it and the server; what a message causes runs in `group`.
  KeepAlives(db::Database& database, runtime::TaskGroup& group) : database_(database), group_(group) {}
  ~KeepAlives();

  // For the service method. `refused`: answers with it.
  grpc::ServerReadReactor<::manager::v2::KeepAliveRequest>* Serve(const absl::Status& refused);
  // Ends all streams with UNAVAILABLE, and those that come later: their callers go to another manager, so they stay
  // active. Any thread.
  void Close();
  size_t size() const;

 private:
  class Stream;

  db::Database& database_;
  runtime::TaskGroup& group_;
  mutable absl::Mutex mutex_;
  bool closed_ ABSL_GUARDED_BY(mutex_) = false;
  std::set<std::shared_ptr<Stream>> streams_ ABSL_GUARDED_BY(mutex_);
};

}  // namespace dragonfly::manager
