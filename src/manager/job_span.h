// SPDX-License-Identifier: Apache-2.0
#pragma once

#include "manager/job_args.h"
#include "telemetry/trace.h"

namespace dragonfly::manager {

// A span of the work by the original's name and attributes (dragonfly v2.3.0, manager/job and
// manager/config/constants_otel.go). URLs lose their queries, where signatures stand.
telemetry::Span StartJobSpan(const JobRequest& request);

}  // namespace dragonfly::manager
