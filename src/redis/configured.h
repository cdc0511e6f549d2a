// SPDX-License-Identifier: Apache-2.0
#pragma once

#include "config/redis.h"
#include "redis/options.h"

namespace dragonfly::redis {

// How to reach the Redis that a configuration names. The nodes of a cluster have the logical database 0 alone.
Options OptionsOf(const config::Redis& config);

}  // namespace dragonfly::redis
