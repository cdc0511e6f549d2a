// SPDX-License-Identifier: Apache-2.0
// The table of peers, as schedulers know them. Source of the rules: dragonfly v2.3.0, manager/job/sync_peers.go.
#pragma once

#include <cstdint>
#include <vector>

#include "absl/status/status.h"
#include "db/connection.h"
#include "jobs/results.h"

namespace dragonfly::manager {

// Makes the rows of the cluster those of `hosts`: changed, added, deleted. Hosts of no cluster are skipped, as in the
// original. Blocks; within a transaction.
absl::Status MergePeers(db::Connection& connection, uint64_t cluster_id, const std::vector<jobs::HostEntry>& hosts);

}  // namespace dragonfly::manager
