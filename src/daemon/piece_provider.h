// SPDX-License-Identifier: Apache-2.0
// What the piece server serves: the finished pieces of the store.
#pragma once

#include <memory>

#include "daemon/probe.h"
#include "storage/content_store.h"
#include "vortex/server.h"

namespace dragonfly::daemon {

// Pieces of standard tasks; a piece that is being written is waited for. `store` and `probe` must outlive it.
// `disable_shared`: every request gets NOT_FOUND.
std::unique_ptr<vortex::PieceProvider> MakePieceProvider(storage::ContentStore& store, Probe& probe,
                                                         bool disable_shared = false);

}  // namespace dragonfly::daemon
