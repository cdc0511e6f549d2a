// SPDX-License-Identifier: Apache-2.0
#include "manager/job_targets.h"

#include "base/status.h"
#include "base/text.h"
#include "manager/job_table.h"

namespace dragonfly::manager {
namespace asio = boost::asio;

absl::StatusOr<std::vector<uint64_t>> JobClusters(const Directory& all, const std::vector<uint64_t>& wanted) {
  std::vector<uint64_t> ids;
  for (const uint64_t id : wanted) {
    if (!all.scheduler_clusters.contains(id)) {
      return absl::NotFoundError(StrCat("scheduler cluster id ", id, ": record not found"));
    }
    ids.push_back(id);
  }
  if (wanted.empty()) {
    for (const auto& [id, cluster] : all.scheduler_clusters) ids.push_back(id);
  }
  return ids;
}

JobTarget JobTargets::TargetOf(const SchedulerRow& scheduler) const {
  JobTarget target;
  target.cluster = scheduler.cluster_id;
  // Only releases from v2.3.1 on tell their configuration, and take jobs under the longer name. Calls need no form.
  const bool later = scheduler.has_config || by_calls_;
  target.form = later ? jobs::Form::kAllUrls : jobs::Form::kOneUrl;
  target.queue = later ? jobs::SchedulerQueue(scheduler.cluster_id, scheduler.hostname, scheduler.ip)
                       : jobs::SchedulerQueue(scheduler.cluster_id, scheduler.hostname);
  return target;
}

asio::awaitable<absl::StatusOr<std::vector<JobTarget>>> JobTargets::Find(const std::vector<uint64_t>& wanted,
                                                                         JobReach reach) const {
  const bool must_preheat = reach == JobReach::kPreheaterOfEach;
  const bool first_only = reach != JobReach::kAll;
  DF_CO_ASSIGN_OR_RETURN(const auto all, co_await directory_.Read(Clock::now() + kJobDatabaseTimeout));
  DF_CO_ASSIGN_OR_RETURN(const std::vector<uint64_t> clusters, JobClusters(*all, wanted));
  std::vector<JobTarget> targets;
  for (const uint64_t cluster : clusters) {
    bool found = false;
    for (const SchedulerRow* const scheduler : all->ActiveSchedulersOf(cluster)) {
      // Without Redis none of them says that it takes jobs from there.
      if (must_preheat && !by_calls_ && !scheduler->Has("preheat")) continue;
      if (found && first_only) break;
      found = true;
      targets.push_back(TargetOf(*scheduler));
    }
    if (!found && !wanted.empty()) {
      co_return absl::FailedPreconditionError(StrCat("scheduler cluster id ", cluster, ": ",
                                                     must_preheat ? "candidate" : "active", " schedulers not found"));
    }
  }
  if (targets.empty()) {
    co_return absl::FailedPreconditionError(must_preheat ? "candidate schedulers not found"
                                                         : "active schedulers not found");
  }
  co_return targets;
}

}  // namespace dragonfly::manager
