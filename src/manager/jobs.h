// SPDX-License-Identifier: Apache-2.0
// Jobs: from a request to messages for schedulers, and from their states to the row that clients look at. See
// docs/jobs.md. Source of the rules: dragonfly v2.3.0, manager/service/job.go and manager/job/*.go.
#pragma once

#include <boost/asio/awaitable.hpp>
#include <boost/asio/io_context.hpp>
#include <cstdint>
#include <map>
#include <memory>
#include <string>
#include <vector>

#include "absl/status/statusor.h"
#include "absl/time/time.h"
#include "db/database.h"
#include "http/networks.h"
#include "jobs/broker.h"
#include "jobs/message.h"
#include "manager/config.h"
#include "manager/directory.h"
#include "manager/job_args.h"
#include "manager/job_limiter.h"
#include "manager/probe.h"
#include "runtime/clock.h"
#include "runtime/task_group.h"

namespace dragonfly::manager {

// Thread rule: calls may be awaited from any executor; the work is done on the thread of `io`.
//
// A job that has a row is brought to an end by some manager on its database: by the one that made it while it lives,
// else by another, which sends again what had not been sent. Rows change from PENDING once.
class JobService {
 public:
  // All must outlive it; `tracer` may be null. Without a Redis in the configuration, jobs are handed to schedulers by
  // calls (dragonfly.ext.v1.Jobs), which only ours serve. Errors: INVALID_ARGUMENT naming the key of the configuration.
  static absl::StatusOr<std::unique_ptr<JobService>> Make(boost::asio::io_context& io, db::Database& database,
                                                          DirectoryReader& directory, Probe& probe,
                                                          const ManagerConfig& config, telemetry::Tracer* tracer);
  // Stop() must have completed when Start() was called.
  ~JobService();

  void Start();
  boost::asio::awaitable<void> Stop();

  template <typename T>
  using Result = boost::asio::awaitable<absl::StatusOr<T>>;

  // One of each cluster that the job goes to. Errors: NOT_FOUND for a cluster that is not there; RESOURCE_EXHAUSTED,
  // with `retry_after` set.
  boost::asio::awaitable<absl::Status> Admit(const JobRequest& request, absl::Duration* retry_after);

  // preheat, get_task and delete_task: the row's id. Errors: FAILED_PRECONDITION "candidate schedulers not found" and
  // "active schedulers not found"; INVALID_ARGUMENT for an image that cannot be read; those of the broker.
  Result<int64_t> Create(JobRequest request, int64_t user_id);
  // Asks one scheduler of each cluster for its hosts and writes them to the table of peers.
  boost::asio::awaitable<absl::Status> SyncPeers(JobRequest request);
  // {"image": ..., "peers": ...}: which hosts have which layers.
  Result<std::string> GetImageDistribution(JobRequest request);
  // {"entries": [{"url", "content_length", "is_dir"}], "scheduler_cluster_id"}: what is in a directory, as a host of
  // the first of the clusters sees it whose scheduler answers. Errors: FAILED_PRECONDITION with the reason, also when
  // there is no scheduler; UNAVAILABLE when none has answered in time.
  Result<std::string> ListEntries(JobRequest request);
  // Lets every active scheduler of the cluster do a job of ours, and returns what those have answered that could.
  // Errors: FAILED_PRECONDITION; UNAVAILABLE when none has answered in time; else what the last one says.
  Result<std::vector<std::string>> Ask(uint64_t cluster, std::string name, std::string argument);
  // Deletes what is older than the configuration says, and returns the id of the row about it.
  Result<int64_t> CollectGarbage(std::string type, int64_t user_id);

  // Ends what runs of the job with that group. A group that is not known is no error.
  boost::asio::awaitable<absl::Status> Cancel(std::string group_uuid);
  // State and result of a job as they are by now; the result is "" when its schedulers have said nothing.
  struct Current {
    std::string state;
    std::string result;
  };
  Result<Current> Look(std::string kind, std::string group_uuid);

 private:
  struct State;
  explicit JobService(std::unique_ptr<State> state);
  std::unique_ptr<State> state_;
};

}  // namespace dragonfly::manager
