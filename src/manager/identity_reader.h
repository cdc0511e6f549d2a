// SPDX-License-Identifier: Apache-2.0
// Who users are and what they may do, read anew for every request, but for many requests at once.
#pragma once

#include <boost/asio/awaitable.hpp>
#include <cstdint>
#include <deque>
#include <map>
#include <memory>
#include <set>
#include <string>
#include <utility>

#include "absl/base/thread_annotations.h"
#include "absl/status/statusor.h"
#include "absl/synchronization/mutex.h"
#include "db/database.h"
#include "runtime/clock.h"
#include "runtime/signal.h"

namespace dragonfly::manager {

struct UserRights {
  bool enabled = false;  // false as well when there is no such user
  std::string name;
  std::set<std::pair<std::string, std::string>> rights;  // object, action

  // `action`: "read" or "*", which has the former.
  bool May(const std::string& object, const std::string& action) const;
};

// Any thread. Requests that come while a reading runs share the next one: what is taken away from a user is gone with
// the next request, on all managers, and however many ask, the database is asked by one at a time.
class IdentityReader {
 public:
  explicit IdentityReader(db::Database& database) : database_(database) {}

  // What the database holds at some moment after the call has begun.
  boost::asio::awaitable<absl::StatusOr<UserRights>> Read(int64_t user_id, TimePoint deadline);

 private:
  using Result = absl::StatusOr<std::map<int64_t, UserRights>>;
  class Reading;

  db::Database& database_;
  runtime::Signal changed_;
  absl::Mutex mutex_;
  uint64_t begun_ ABSL_GUARDED_BY(mutex_) = 0;      // readings
  uint64_t ended_ ABSL_GUARDED_BY(mutex_) = 0;      // begun_ or one less
  std::set<int64_t> next_ ABSL_GUARDED_BY(mutex_);  // whom the next one is for
  // The last ones, by number: who waits for one may look after the following has ended.
  std::deque<std::pair<uint64_t, std::shared_ptr<const Result>>> results_ ABSL_GUARDED_BY(mutex_);
};

}  // namespace dragonfly::manager
