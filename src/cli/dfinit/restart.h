// SPDX-License-Identifier: Apache-2.0
// Restarts of container runtimes, none of which is forgotten: one that is due is noted in a file beside the runtime's
// configuration until it has succeeded.
#pragma once

#include <chrono>
#include <string>
#include <vector>

#include "absl/status/status.h"
#include "cli/dfinit/plan.h"

namespace dragonfly::cli {

struct DueRestart {
  std::string service;
  std::string note;  // path of the file on disk
};

// Restarts that the plan's changes need or that are noted from an earlier run.
std::vector<DueRestart> DueRestarts(const Plan& plan, const std::string& root);

// Notes them. To be called before the files are changed.
absl::Status NoteRestarts(const std::vector<DueRestart>& due);

// Runs `command`, split at blanks, with the name of the service behind it, and removes the note. Errors: NOT_FOUND for
// an unknown program, INTERNAL with its exit status, DEADLINE_EXCEEDED after `timeout`, when it is killed.
absl::Status Restart(const DueRestart& due, const std::string& command,
                     std::chrono::milliseconds timeout = std::chrono::minutes(5));

}  // namespace dragonfly::cli
