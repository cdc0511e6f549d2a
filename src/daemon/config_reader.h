// SPDX-License-Identifier: Apache-2.0
// Which key of dfdaemon.yaml is which field, and the rules that a file alone can break. Internal to config.cc.
#pragma once

#include "config/section.h"
#include "daemon/config.h"

namespace dragonfly::daemon {

// Reads a file's root into `config`, which holds the defaults.
void ReadConfig(config::Section& root, DaemonConfig& config);

// Asks for the same keys for config::Describe().
void DescribeConfig(config::Section& root, DaemonConfig& config);

// Reports each of `addrs` that is no "host:port".
void CheckAddrs(config::Section& section, std::string_view key, const std::vector<std::string>& addrs);

}  // namespace dragonfly::daemon
