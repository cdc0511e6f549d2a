// SPDX-License-Identifier: Apache-2.0
// One AnnouncePeer conversation over gRPC; see docs/configuration.md for the schedulers' addresses.
#pragma once

#include <memory>
#include <string>
#include <vector>

#include "daemon/grpc_scheduler_link.h"

namespace dragonfly::daemon {

// `candidates` are the addresses to register with, in the order of failover; not empty.
std::unique_ptr<PeerSession> MakeGrpcPeerSession(std::shared_ptr<const GrpcSchedulerLinkOptions> options,
                                                 SchedulerSet& schedulers, std::vector<std::string> candidates,
                                                 TaskId task, std::string peer_id);

}  // namespace dragonfly::daemon
