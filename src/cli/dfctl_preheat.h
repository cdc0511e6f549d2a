// SPDX-License-Identifier: Apache-2.0
// The requests of `dfctl task preheat`. Only .cc files include this (it pulls in protobuf).
#pragma once

#include "absl/status/statusor.h"
#include "cli/dfctl_options.h"
#include "scheduler/v2/scheduler.pb.h"

namespace dragonfly::cli {

// Credentials of an object store are sent only for the schemes of one, HDFS's token only for hdfs.
scheduler::v2::PreheatFileRequest MakePreheatFileRequest(const PreheatOptions& options);
// Errors: INVALID_ARGUMENT when the URL is no "oci://" reference.
absl::StatusOr<scheduler::v2::PreheatImageRequest> MakePreheatImageRequest(const PreheatOptions& options);

}  // namespace dragonfly::cli
