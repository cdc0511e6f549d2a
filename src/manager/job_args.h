// SPDX-License-Identifier: Apache-2.0
// What a client asks of POST /jobs. Names, bounds and defaults: dragonfly v2.3.0 and v2.5.1, manager/types/job.go and
// manager/service/job.go; the keys of both releases are read.
#pragma once

#include <cstdint>
#include <map>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "absl/status/statusor.h"
#include "absl/time/time.h"
#include "jobs/preheat_request.h"
#include "telemetry/trace.h"

namespace dragonfly::manager {

enum class JobKind { kPreheat, kGetTask, kDeleteTask, kSyncPeers, kGetImageDistribution, kGc, kListTaskEntries };
// "preheat", ...
std::string_view NameOf(JobKind kind);

struct JobArgs {
  JobArgs() = default;
  bool image = false;  // of a preheat
  std::string gc;      // "audit" or "job", of a gc
  // Files, a directory, or an image's manifest with the scope, the hosts and how it is downloaded.
  jobs::PreheatRequest download;
  std::string username, password;  // for a registry
  std::string platform;            // "" is the manager's own
  std::string task_id;             // of get_task and delete_task: given, or made of the URL or the content
  absl::Duration timeout = absl::Minutes(60);
  // As they are kept and shown: with defaults, without passwords and values of headers.
  std::string shown;
  // There was something that `shown` lacks, so that the job cannot be made from it again.
  bool secret = false;
};

struct JobRequest {
  JobRequest() = default;
  JobKind kind = JobKind::kPreheat;
  std::string bio;
  std::vector<uint64_t> scheduler_clusters;  // empty: all
  std::vector<uint64_t> seed_peer_clusters;
  JobArgs args;
  telemetry::SpanParent span;  // of who asks for it
};

// The body of POST /jobs. Errors: INVALID_ARGUMENT, in the original's words where it has some.
absl::StatusOr<JobRequest> ParseJobRequest(const std::string& body);
// The body of POST /preheats, as Harbor sends it: an image or a file, for all clusters.
absl::StatusOr<JobRequest> ParseHarborRequest(const std::string& body);
// `kind` and args as they were shown.
absl::StatusOr<JobArgs> ParseShownArgs(std::string_view kind, const std::string& shown);

// The URL as it is shown: a password in it as "***".
std::string ShownUrl(const std::string& url);

}  // namespace dragonfly::manager
