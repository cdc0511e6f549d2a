// SPDX-License-Identifier: Apache-2.0
// The rows of jobs. Every function blocks.
#pragma once

#include <chrono>
#include <cstdint>
#include <optional>
#include <string>
#include <vector>

#include "absl/status/statusor.h"
#include "absl/time/time.h"
#include "db/connection.h"

namespace dragonfly::manager {

// What runs for a job waits for the database that long.
inline constexpr std::chrono::seconds kJobDatabaseTimeout{30};

struct JobRow {
  JobRow() = default;
  int64_t id = 0;
  std::string group_uuid;  // task_id of the table
  std::string type, bio, args;
  std::string state = "PENDING";
  int64_t user_id = 0;
  std::vector<uint64_t> scheduler_clusters, seed_peer_clusters;
  absl::Time created_at = absl::UnixEpoch();
};

// Returns its id.
absl::StatusOr<int64_t> InsertJob(db::Connection& connection, const JobRow& row);
// Of a PENDING job; false when it is none (any more).
absl::StatusOr<bool> EndJob(db::Connection& connection, int64_t id, const std::string& state,
                            const std::string& result);
// Jobs for schedulers that are PENDING and older than `before`, the oldest first.
absl::StatusOr<std::vector<JobRow>> PendingJobs(db::Connection& connection, absl::Time before, int64_t max);
// Errors: NOT_FOUND "record not found".
absl::StatusOr<JobRow> FindJob(db::Connection& connection, int64_t id);
// The row as JSON text, with the clusters it went to.
absl::StatusOr<std::string> ShowJob(db::Connection& connection, int64_t id);

// How long rows are kept, as the row `gc` of configs says: of "audit" or "job".
absl::StatusOr<absl::Duration> KeptFor(db::Connection& connection, const std::string& type);
// Deletes at most `max` jobs that are older, and have ended or cannot end any more; returns how many.
absl::StatusOr<int64_t> ExpireJobs(db::Connection& connection, absl::Time now, int64_t max);

}  // namespace dragonfly::manager
