// SPDX-License-Identifier: Apache-2.0
// What the piece server serves: the finished pieces of the store.
#pragma once

#include <memory>

#include "daemon/given_pieces.h"
#include "daemon/probe.h"
#include "storage/content_store.h"
#include "vortex/server.h"

namespace dragonfly::daemon {

// Pieces of standard tasks, and of the persistent cache tasks in `persistent` (may be null); a piece that is being
// written is waited for. What is given of standard tasks is told to `given`. What is referred to must outlive it.
// `disable_shared`: every request gets NOT_FOUND.
std::unique_ptr<vortex::PieceProvider> MakePieceProvider(storage::ContentStore& store, GivenPieces& given, Probe& probe,
                                                         bool disable_shared = false,
                                                         storage::ContentStore* persistent = nullptr);

}  // namespace dragonfly::daemon
