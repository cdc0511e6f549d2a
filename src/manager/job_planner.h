// SPDX-License-Identifier: Apache-2.0
// What is sent for a job: the message that each of its schedulers gets. Source of the rules: dragonfly v2.3.0,
// manager/job/*.go.
#pragma once

#include <boost/asio/awaitable.hpp>
#include <boost/asio/io_context.hpp>
#include <cstdint>
#include <memory>
#include <string>
#include <vector>

#include "absl/status/statusor.h"
#include "absl/time/time.h"
#include "http/curl_client.h"
#include "http/networks.h"
#include "jobs/message.h"
#include "manager/config.h"
#include "manager/job_args.h"
#include "manager/job_targets.h"
#include "manager/preheat_tls.h"
#include "oci/image_url.h"
#include "oci/registry_client.h"

namespace dragonfly::manager {

// The messages of a group, and the clusters they go to.
struct JobPlan {
  JobPlan() = default;
  std::vector<jobs::Message> messages;
  std::vector<uint64_t> clusters;
};

// For each layer of an image, in their order, one message for each scheduler.
struct ImageSearch {
  ImageSearch() = default;
  std::vector<std::string> layers;  // URLs
  size_t schedulers = 0;
  std::vector<jobs::Message> messages;
};

// Thread rule: coroutines on the thread of `io`.
class JobPlanner {
 public:
  // `io`, `targets` and `config` must outlive it. Errors: INVALID_ARGUMENT naming the key of the configuration.
  static absl::StatusOr<std::unique_ptr<JobPlanner>> Make(boost::asio::io_context& io, const JobTargets& targets,
                                                          const ManagerConfig& config);
  // On the thread of `io`, when nothing runs any more.
  void Stop() { http_.reset(); }

  // Of preheat, get_task and delete_task. Errors: those of JobTargets::Find(); INVALID_ARGUMENT for an image that
  // cannot be read and for a URL in a forbidden network; INTERNAL for another kind.
  boost::asio::awaitable<absl::StatusOr<JobPlan>> Plan(JobKind kind, const JobArgs& args,
                                                       const std::vector<uint64_t>& wanted);
  // Of get_image_distribution. Errors: those of Plan().
  boost::asio::awaitable<absl::StatusOr<ImageSearch>> PlanImageSearch(const JobArgs& args,
                                                                      const std::vector<uint64_t>& wanted);
  // Of list_task_entries, for one scheduler that has `timeout` to answer.
  jobs::Message ListMessage(const JobTarget& target, const JobArgs& args, absl::Duration timeout) const;
  // Errors: INVALID_ARGUMENT for a URL whose host is an address in a forbidden network.
  absl::Status CheckUrls(const std::vector<std::string>& urls) const;

 private:
  JobPlanner(boost::asio::io_context& io, const JobTargets& targets, const ManagerConfig& config,
             http::Networks forbidden, PreheatTls tls);
  boost::asio::awaitable<absl::StatusOr<oci::ResolvedImage>> Resolve(const JobArgs& args, oci::ImageUrl* image);
  boost::asio::awaitable<absl::StatusOr<JobPlan>> PlanPreheat(const JobArgs& args, const std::vector<uint64_t>& wanted);
  boost::asio::awaitable<absl::StatusOr<JobPlan>> PlanTask(const char* name, const JobArgs& args,
                                                           const std::vector<uint64_t>& wanted);

  const JobTargets& targets_;
  const ManagerConfig& config_;
  const http::Networks forbidden_;
  const PreheatTls tls_;
  std::unique_ptr<http::CurlClient> http_;  // used and freed on the thread of io
};

}  // namespace dragonfly::manager
