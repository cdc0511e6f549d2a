// SPDX-License-Identifier: Apache-2.0
// What the manager says of a cluster, as a file and as configuration. Only .cc files include this (it names messages).
#pragma once

#include <string>

#include "absl/status/statusor.h"
#include "manager/v2/manager.pb.h"
#include "scheduler/cluster_config.h"

namespace dragonfly::scheduler {

// The two answers that belong together.
struct ManagerAnswer {
  manager::v2::Scheduler scheduler;
  manager::v2::ListApplicationsResponse applications;
};

// `answer` over `defaults`. A part that cannot be read keeps its default and is named in the warnings.
LoadedClusterConfig ToClusterConfig(const ManagerAnswer& answer, const ClusterConfig& defaults);

// The answer as JSON for a file, with the manager and the cluster that it is of.
std::string ToFileText(const ManagerAnswer& answer, const std::string& manager, uint64_t cluster_id);
// Reads it back. Errors: INVALID_ARGUMENT for another text; FAILED_PRECONDITION when it is of another manager or
// cluster.
absl::StatusOr<ManagerAnswer> FromFileText(const std::string& text, const std::string& manager, uint64_t cluster_id);

// Writes the file in one step, so that a reader sees all or nothing, with mode 0600; makes its directory. Blocks.
absl::Status WriteFileWhole(const std::string& path, const std::string& text);

}  // namespace dragonfly::scheduler
