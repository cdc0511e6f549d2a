// SPDX-License-Identifier: Apache-2.0
// Which schedulers a job goes to. Source of the rules: dragonfly v2.3.0, manager/service/job.go.
#pragma once

#include <boost/asio/awaitable.hpp>
#include <cstdint>
#include <string>
#include <vector>

#include "absl/status/statusor.h"
#include "jobs/message.h"
#include "jobs/preheat_request.h"
#include "manager/directory.h"

namespace dragonfly::manager {

// A scheduler that a job goes to.
struct JobTarget {
  std::string queue;
  jobs::Form form = jobs::Form::kAllUrls;
  uint64_t cluster = 0;
};

enum class JobReach {
  kAll,              // every active scheduler
  kOneOfEach,        // of each cluster, for work that is the cluster's
  kPreheaterOfEach,  // the same, of those that say that they preheat
};

// The clusters that a request means: those it names, or all. Errors: NOT_FOUND for one that is not there.
absl::StatusOr<std::vector<uint64_t>> JobClusters(const Directory& all, const std::vector<uint64_t>& wanted);

// Any thread.
class JobTargets {
 public:
  // `directory` must outlive it. `by_calls`: jobs are handed over by calls (dragonfly.ext.v1.Jobs), not by Redis.
  JobTargets(DirectoryReader& directory, bool by_calls) : directory_(directory), by_calls_(by_calls) {}

  // At least one, by cluster. Errors: NOT_FOUND for a cluster that is not there; FAILED_PRECONDITION "candidate
  // schedulers not found" or "active schedulers not found", with the cluster when it was named; those of the database.
  boost::asio::awaitable<absl::StatusOr<std::vector<JobTarget>>> Find(const std::vector<uint64_t>& wanted,
                                                                      JobReach reach) const;

 private:
  JobTarget TargetOf(const SchedulerRow& scheduler) const;

  DirectoryReader& directory_;
  const bool by_calls_;
};

}  // namespace dragonfly::manager
