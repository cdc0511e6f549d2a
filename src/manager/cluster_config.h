// SPDX-License-Identifier: Apache-2.0
// What the configurations of clusters may say. Each function takes a JSON text and tells what is wrong with it, or
// nothing. Bounds: dragonfly v2.3.0, manager/types/scheduler_cluster.go and seed_peer_cluster.go; keys that nobody
// knows are kept.
#pragma once

#include <optional>
#include <string>

namespace dragonfly::manager {

std::optional<std::string> CheckSchedulerClusterConfig(const std::string& text);
std::optional<std::string> CheckPeerClusterConfig(const std::string& text);
std::optional<std::string> CheckSeedPeerClusterConfig(const std::string& text);
// Networks and regular expressions that are none are told, instead of never matching.
std::optional<std::string> CheckScopes(const std::string& text);
// {"value": 0..20, "urls": [{"regex", "value"}]}
std::optional<std::string> CheckPriority(const std::string& text);
// A list of "job" and "cluster".
std::optional<std::string> CheckTokenScopes(const std::string& text);
// {"audit": {"ttl"}, "job": {"ttl"}}, of the row "gc" of configs: nanoseconds above 0.
std::optional<std::string> CheckGcConfig(const std::string& text);

}  // namespace dragonfly::manager
