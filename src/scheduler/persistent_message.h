// SPDX-License-Identifier: Apache-2.0
// Persistent cache tasks and their peers as messages, and the checks of what comes from the network, with the texts
// that the original's validator gives. Only .cc files include this (it names messages).
#pragma once

#include <string>
#include <string_view>

#include "absl/status/status.h"
#include "common/v2/common.pb.h"
#include "scheduler/persistent_model.h"
#include "scheduler/v2/scheduler.pb.h"

namespace dragonfly::scheduler {

// INVALID_ARGUMENT "invalid <message>.<field>: ..." for an empty id or one that is too long.
absl::Status CheckId(std::string_view message, std::string_view field, const std::string& id);
// INVALID_ARGUMENT with the first violation.
absl::Status CheckUpload(const ::scheduler::v2::UploadPersistentCacheTaskStartedRequest& request);

// All but the counts of its replicas.
void Fill(const PersistentTask& task, common::v2::PersistentCacheTask* out);
// All but its task and its host.
void Fill(const PersistentPeer& peer, common::v2::PersistentCachePeer* out);

}  // namespace dragonfly::scheduler
