// SPDX-License-Identifier: Apache-2.0
// What schedulers have answered, as the API shows it. Source: dragonfly v2.3.0, internal/job/job.go (GroupJobState).
#pragma once

#include <string>
#include <string_view>
#include <vector>

#include "absl/time/time.h"
#include "jobs/message.h"

namespace dragonfly::manager {

// {"group_uuid", "state", "created_at", "updated_at", "job_states": [...]}; a result that cannot be read is shown as
// its text.
std::string ShowGroup(std::string_view group_uuid, const std::vector<jobs::TaskState>& tasks, absl::Time now);

// {"image": {"layers": [{"url"}]}, "peers": [{"ip", "hostname", "layers", "cached_layers", "scheduler_cluster_id"}]}.
// `tasks` are those of get_task, `schedulers` of them for each layer, in the order of the layers.
std::string ShowImageDistribution(const std::vector<std::string>& layers, size_t schedulers,
                                  const std::vector<jobs::TaskState>& tasks);

}  // namespace dragonfly::manager
