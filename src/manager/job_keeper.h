// SPDX-License-Identifier: Apache-2.0
// Jobs that have a row: from the request to their end, which some manager on the database sees to.
#pragma once

#include <boost/asio/awaitable.hpp>
#include <cstdint>
#include <set>
#include <string>

#include "absl/status/statusor.h"
#include "db/database.h"
#include "jobs/broker.h"
#include "manager/job_args.h"
#include "manager/job_planner.h"
#include "manager/job_table.h"
#include "manager/probe.h"
#include "runtime/task_group.h"

namespace dragonfly::manager {

// Thread rule: on the thread of `group`. Rows change from PENDING once.
class JobKeeper {
 public:
  // All must outlive it; what watches jobs runs in `group`.
  JobKeeper(db::Database& database, jobs::Broker& broker, JobPlanner& planner, Probe& probe, runtime::TaskGroup& group)
      : database_(database), broker_(broker), planner_(planner), probe_(probe), group_(group) {}

  // Writes the row, sends the messages and watches over them. Returns the row's id. Errors: those of
  // JobPlanner::Plan(), the database and the broker.
  boost::asio::awaitable<absl::StatusOr<int64_t>> Create(JobRequest request, int64_t user_id);

  // Looks, for ever, after jobs of this database whose manager has perhaps gone: sends again what had not been sent,
  // and ends what has ended.
  boost::asio::awaitable<void> Adopt();

 private:
  boost::asio::awaitable<absl::Status> End(int64_t id, std::string type, jobs::State state, std::string result);
  boost::asio::awaitable<void> Watch(int64_t id, std::string type, std::string group_uuid, TimePoint deadline);
  boost::asio::awaitable<absl::Status> LookAt(JobRow row);

  db::Database& database_;
  jobs::Broker& broker_;
  JobPlanner& planner_;
  Probe& probe_;
  runtime::TaskGroup& group_;
  std::set<int64_t> own_;  // jobs that are watched here
};

}  // namespace dragonfly::manager
