// SPDX-License-Identifier: Apache-2.0
// The scenarios of docs/performance.md.
#pragma once

#include <vector>

#include "swarm.h"

namespace dragonfly::swarm {

std::vector<Scenario> AllScenarios();

}  // namespace dragonfly::swarm
