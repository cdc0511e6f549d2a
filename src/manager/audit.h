// SPDX-License-Identifier: Apache-2.0
// Who changed what: entries are queued and written in batches, so that no request waits for its own.
#pragma once

#include <boost/asio/awaitable.hpp>
#include <cstdint>
#include <deque>
#include <string>

#include "absl/base/thread_annotations.h"
#include "absl/synchronization/mutex.h"
#include "absl/time/time.h"
#include "db/database.h"
#include "runtime/signal.h"

namespace dragonfly::manager {

struct AuditEntry {
  std::string actor_type;  // USER, PAT, UNKNOWN
  std::string actor_name;
  std::string operation;  // the method
  std::string path;
  int status = 0;
  std::string client;  // address
  absl::Time at;
};

// Any thread. Texts are cut to what their columns hold. When the database cannot be written, entries wait, at most
// kWaitingMax of them; what comes above is lost and counted in the log.
class AuditLog {
 public:
  static constexpr size_t kWaitingMax = 10'000;

  explicit AuditLog(db::Database& database) : database_(database) {}
  void Add(AuditEntry entry);
  // Writes what is added until it is cancelled. Once.
  boost::asio::awaitable<void> Run();
  // Writes what waits, on the calling thread, after Run() has ended. Blocks.
  void Flush();

 private:
  std::deque<AuditEntry> Take();
  void GiveBack(std::deque<AuditEntry> batch);

  db::Database& database_;
  runtime::Signal added_;
  absl::Mutex mutex_;
  std::deque<AuditEntry> waiting_ ABSL_GUARDED_BY(mutex_);
  uint64_t lost_ ABSL_GUARDED_BY(mutex_) = 0;
};

}  // namespace dragonfly::manager
