// SPDX-License-Identifier: Apache-2.0
// Which key of manager.yaml is which field, and the rules that a file alone can break. Internal to config.cc.
#pragma once

#include "config/section.h"
#include "manager/config.h"

namespace dragonfly::manager {

// Reads a file's root into `config`, which holds the defaults.
void ReadConfig(config::Section& root, ManagerConfig& config);

// Asks for the same keys for config::Describe(), without those of former releases.
void DescribeConfig(config::Section& root, ManagerConfig& config);

}  // namespace dragonfly::manager
