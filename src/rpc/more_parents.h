// SPDX-License-Identifier: Apache-2.0
// What programs of this project tell one another on AnnouncePeer streams beyond the original's API: a peer that takes
// parents while it downloads, and answers that nobody has asked for. See docs/scheduling.md.
// Only who has said the one is ever sent the other.
#pragma once

#include "scheduler/v2/scheduler.pb.h"

namespace dragonfly::rpc {

// The peer reads answers at any time, and tells those with IsMore() from the one that it has asked for.
void SetTakesMoreParents(::scheduler::v2::RegisterPeerRequest& request);
bool TakesMoreParents(const ::scheduler::v2::RegisterPeerRequest& request);

// The parents come in addition to those of the last answer, and are not the answer to any question.
void SetMore(::scheduler::v2::NormalTaskResponse& response);
bool IsMore(const ::scheduler::v2::NormalTaskResponse& response);

}  // namespace dragonfly::rpc
