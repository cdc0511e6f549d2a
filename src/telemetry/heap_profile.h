// SPDX-License-Identifier: Apache-2.0
// What memory this process holds, and who allocated it.
#pragma once

#include <string>

#include "absl/status/statusor.h"
#include "telemetry/profile.h"

namespace dragonfly::telemetry {

// A sample of the allocations that live, from jemalloc, scaled to the whole: inuse_objects (count) and inuse_space
// (bytes). Blocks. Errors: UNIMPLEMENTED when the program runs without jemalloc or its profiling is off (it is
// compiled in and switched by malloc_conf or the environment: prof:true); of the system.
absl::StatusOr<Profile> TakeHeapProfile();

// The same from the text that jemalloc writes ("heap_v2/..."). Errors: DATA_LOSS for any other text.
absl::StatusOr<Profile> ParseHeapDump(const std::string& dump);

}  // namespace dragonfly::telemetry
